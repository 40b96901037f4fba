/* What a campaign earned, from two groups drawn by lot: differences with their confidence intervals. Pure. */
#ifndef WAYMARK_EXPORT_LIFT_H
#define WAYMARK_EXPORT_LIFT_H

#include <stdbool.h>
#include <stdint.h>

struct lift {
    double difference, low, high;
    bool known; /* false: a group is too small to say anything */
};

#define LIFT_LEVEL 0.95

/* Share a/m minus share b/n, at 95 %: R. G. Newcombe, "Interval estimation for the difference between independent
 * proportions: comparison of eleven methods", Statistics in Medicine 17 (1998) 873-890, method 10: the hybrid of two
 * score intervals of E. B. Wilson (1927), without correction for continuity. */
struct lift lift_of_shares(uint64_t a, uint64_t m, uint64_t b, uint64_t n);

/* Numbers seen one by one: B. P. Welford's way (Technometrics 4, 1962) of not losing the small ones in the sums. */
struct sample {
    uint64_t n;
    double mean, squares; /* sum of squared distances from the mean */
};
void sample_add(struct sample *s, double v);
/* Adds those of another sample: T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
 * computing sample variances", COMPSTAT 1982. */
void sample_join(struct sample *s, const struct sample *other);
double sample_variance(const struct sample *s);

/* Mean of a minus mean of b, at 95 %, of groups whose variances differ: B. L. Welch, "The generalization of 'Student's'
 * problem when several different population variances are involved", Biometrika 34 (1947) 28-35, with the degrees of
 * freedom of F. E. Satterthwaite (1946). */
struct lift lift_of_means(const struct sample *a, const struct sample *b);
/* The degrees of freedom. */
double welch_freedom(const struct sample *a, const struct sample *b);

/* Student's t: the probability to lie below `t`, and the t below which a share `p` lies. */
double student_below(double t, double freedom);
double student_quantile(double p, double freedom);

#endif
