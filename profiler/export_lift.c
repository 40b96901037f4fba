/* Differences of shares and means with their intervals. Pure; any thread. */
#include "profiler/export_lift.h"

#include <math.h>

#define Z95 1.959963984540054 /* the normal distribution has 97.5 % below it */
#define ROUNDS 300

/* --- shares ---------------------------------------------------------------------------------------------------- */

struct score {
    double p, low, high;
};

/* Wilson's score interval: the p for which (observed - p)^2 = z^2 p (1 - p) / n. */
static struct score wilson(uint64_t a, uint64_t n)
{
    double p = (double)a / (double)n, z2 = Z95 * Z95 / (double)n;
    double middle = p + z2 / 2, reach = sqrt(z2 * (p * (1 - p) + z2 / 4));

    return (struct score){p, (middle - reach) / (1 + z2), (middle + reach) / (1 + z2)};
}

static double both(double a, double b)
{
    return sqrt(a * a + b * b);
}

struct lift lift_of_shares(uint64_t a, uint64_t m, uint64_t b, uint64_t n)
{
    struct lift out = {0, 0, 0, false};

    if (m == 0 || n == 0)
        return out;
    struct score x = wilson(a, m), y = wilson(b, n);
    out.difference = x.p - y.p;
    out.low = out.difference - both(x.p - x.low, y.high - y.p);
    out.high = out.difference + both(x.high - x.p, y.p - y.low);
    out.known = true;
    return out;
}

/* --- means ----------------------------------------------------------------------------------------------------- */

void sample_add(struct sample *s, double v)
{
    double distance = v - s->mean;

    s->n++;
    s->mean += distance / (double)s->n;
    s->squares += distance * (v - s->mean);
}

void sample_join(struct sample *s, const struct sample *other)
{
    double distance = other->mean - s->mean;
    uint64_t n = s->n + other->n;

    if (other->n == 0)
        return;
    s->squares += other->squares + distance * distance * (double)s->n * ((double)other->n / (double)n);
    s->mean += distance * ((double)other->n / (double)n);
    s->n = n;
}

double sample_variance(const struct sample *s)
{
    return s->n > 1 ? s->squares / (double)(s->n - 1) : 0;
}

double welch_freedom(const struct sample *a, const struct sample *b)
{
    double x = sample_variance(a) / (double)a->n, y = sample_variance(b) / (double)b->n;

    return (x + y) * (x + y) / (x * x / (double)(a->n - 1) + y * y / (double)(b->n - 1));
}

struct lift lift_of_means(const struct sample *a, const struct sample *b)
{
    struct lift out = {a->mean - b->mean, 0, 0, false};

    if (a->n < 2 || b->n < 2)
        return out;
    double error = sqrt(sample_variance(a) / (double)a->n + sample_variance(b) / (double)b->n);
    double reach = error > 0 ? error * student_quantile(1 - (1 - LIFT_LEVEL) / 2, welch_freedom(a, b)) : 0;
    out.low = out.difference - reach;
    out.high = out.difference + reach;
    out.known = true;
    return out;
}

/* --- Student's t ----------------------------------------------------------------------------------------------- */

/* The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by W. J. Lentz' method. */
static double beta_fraction(double x, double a, double b)
{
    static const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), f;

    d = 1 / (fabs(d) < tiny ? tiny : d);
    f = d;
    for (int i = 1; i <= ROUNDS; i++) {
        double m = i, step;

        for (int half = 0; half < 2; half++) {
            double by = half == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                  : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

            d = 1 + by * d;
            c = 1 + by / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            f *= step;
        }
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return f;
}

/* The regularised incomplete beta function I_x(a, b). */
static double beta_below(double x, double a, double b)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(x, a, b) / a;
    return 1 - front * beta_fraction(1 - x, b, a) / b;
}

double student_below(double t, double freedom)
{
    double tail = beta_below(freedom / (freedom + t * t), freedom / 2, 0.5) / 2;

    return t > 0 ? 1 - tail : tail;
}

double student_quantile(double p, double freedom)
{
    double low = 0, high = 1;

    if (p < 0.5)
        return -student_quantile(1 - p, freedom);
    while (student_below(high, freedom) < p && high < 1e12)
        high *= 2;
    for (int i = 0; i < ROUNDS && high - low > 1e-12 * high; i++) {
        double middle = (low + high) / 2;

        if (student_below(middle, freedom) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}
