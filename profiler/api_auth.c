/* Who asks: the bearer token of a request and what it may do. Pool threads. */
#include <strings.h>

#include "profiler/api_ask.h"
#include "profiler/tokens.h"

/* What stands behind "Bearer "; absent when there is no such thing. */
static struct str bearer(struct str authorization)
{
    static const char scheme[] = "bearer ";
    size_t n = sizeof scheme - 1;

    if (authorization.n < n || strncasecmp(authorization.p, scheme, n) != 0)
        return STR_NONE;
    while (n < authorization.n && authorization.p[n] == ' ')
        n++;
    while (authorization.n > n && strchr(" \t", authorization.p[authorization.n - 1]))
        authorization.n--;
    return n < authorization.n ? (struct str){authorization.p + n, authorization.n - n} : STR_NONE;
}

static const char *scope_name(unsigned scope)
{
    unsigned i = 0;

    while (!(scope >> i & 1))
        i++;
    return conf_scope_name(i);
}

bool ask_authorise(struct ask *ask)
{
    struct str token = bearer(http_header(ask->request, "Authorization"));
    struct token_found found;

    if (!ask->route->scope)
        return true;
    if (!str_has(token)) {
        ask_error(ask, 401, "token_missing", "a bearer token is needed: Authorization: Bearer TOKEN");
        return false;
    }
    if (!tokens_find(ask->api->tokens, token, &found)) {
        ask_error(ask, 401, "token_unknown", "no such token");
        return false;
    }
    if (!(found.scopes & ask->route->scope)) {
        ask_error(ask, 403, "scope_missing", "the token lacks the scope %s", scope_name(ask->route->scope));
        return false;
    }
    memcpy(ask->who, found.name, sizeof ask->who);
    ask->scopes = found.scopes;
    return true;
}

bool ask_sees_pii(const struct ask *ask)
{
    return (ask->scopes & SCOPE_PII) != 0;
}
