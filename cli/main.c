/* The `waymark` command: chooses the command and nothing else. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command commands[] = {
    {"init", "[DIR]", "write a first configuration with fresh keys", NULL, cli_init},
    {"serve", "", "run collector and profiler in one process on the embedded log", NULL, cli_serve},
    {"check", "", "check the configuration and report every mistake at once", NULL, cli_check},
    {"import", "FILE...", "send CSV or NDJSON files through the collector",
     "The mapping file says what a row becomes; config/import/ has examples. An import that was cut off goes on where\n"
     "it stopped when it is started again with the same file and mapping.",
     cli_import},
    {"profile", "ID", "show a profile; ID is user:... or anon:...", NULL, cli_profile},
    {"traits", "ID [set NAME=VALUE...]", "show or state what is known of somebody, and what they agreed to",
     "VALUE is JSON where it reads as such (42, true, {\"city\":\"Bath\"}; null removes), else a text. Personal ones "
     "are masked "
     "unless the token has the scope pii; stating needs admin.",
     cli_traits},
    {"path", "ID", "show what somebody did, event by event", NULL, cli_path},
    {"orders", "ID", "show somebody's orders", NULL, cli_orders},
    {"data", "ID", "write everything held about somebody as one JSON document",
     "Personal values are in it unmasked: the token needs the scope pii, and the reading is recorded.", cli_data},
    {"audience", "ACTION", "who is meant by a rule: list, show, put, remove, count, members, explain, export",
     "waymark audience put loyal 'orders >= 3 && days_since(last_seen) < 30'\n"
     "waymark audience count 'count(\"Product Viewed\", 7) > 0 && !has(last_order_at)'\n"
     "waymark audience explain loyal user:42\n"
     "waymark audience export loyal --format google --campaign spring --hold-out 0.1 --output spring.csv\n"
     "config/RULES.md has the language of rules.",
     cli_audience},
    {"export", "ACTION", "files made of audiences: list, show ID, get ID, and report CAMPAIGN", NULL, cli_export},
    {"tag", "ACTION", "tags of people: list, set ID NAME VALUE, remove ID NAME, import FILE",
     "VALUE is JSON where it reads as such (3, true), else a text. A file has one {\"id\":…,\"name\":…,\"value\":…}\n"
     "a line; \"until\":\"2026-12-31T00:00:00Z\" may stand beside them.",
     cli_tag},
    {"scene", "ORDER", "show how an order came about", NULL, cli_scene},
    {"tail", "", "follow events as they are folded, or refused with --bad", NULL, cli_tail},
    {"simulate", "", "send the traffic of a seeded shop", NULL, cli_simulate},
    {"verify", "", "check the whole state of a stopped instance against its own events", NULL, cli_verify},
    {"backup", "[NAME]", "copy the state of the running profiler, list copies or check one",
     "Copies lie in the folder profiler.backups, each whole or not at all, with a hash of every file. Names are "
     "letters,\n"
     "digits, - _ and . ; without one it is the time.",
     cli_backup},
    {"restore", "DIR", "bring a backup back into the state of a stopped instance",
     "Every file is checked first. A state that is there is moved aside. The next start folds what came after.",
     cli_restore},
    {"adopt", "", "let the state of a stopped instance go on with a log that was lost and set up anew",
     "For partitions that stop since the log was replaced or does not reach their place. What was folded stays; "
     "folding\n"
     "goes on with the first record of the log that there is. A partition whose state fits its log is refused.",
     cli_adopt},
    {"keys", "ACTION", "make, list or rotate the keys that seal personal values: init, list, rotate",
     "init makes what is missing in the folder `keys`. rotate adds a key to profiler.key and profiler.pub, and one to\n"
     "master.key; programs that run take it up by themselves, and what older keys sealed still opens.",
     cli_keys},
    {"topics", "create|list", "make and check the topics on Kafka, or list where their partitions begin and end",
     "Topics that are there are checked against what is needed.", cli_topics},
    {"token", "NAME", "make a token for look-ups and print it, once",
     "What is printed first is the token; what is kept is its hash, in the line behind it, which belongs into\n"
     "profiler.tokens of the configuration or into the file profiler.tokens_file, where it counts within a second.",
     cli_token},
    {"audit", "", "show who read personal values, exported, erased or changed an identity",
     "Reads the files of the audit log in the data folder, also of an instance that runs. Profiles stand there as\n"
     "hashes under the key audit.key beside them: --profile finds one.",
     cli_audit},
    {"identity", "ID", "show who uses which device, and the evidence; ID is user:... or anon:...", NULL, cli_identity},
    {"unlink", "DEVICE USER", "undo the links of a device with a user, or say what that would move",
     "Takes effect like an event, as if these links had never been; later evidence links again. With --preview "
     "nothing\n"
     "is changed.",
     cli_unlink},
    {"erase", "ID", "erase a person, for good, and print the signed receipt; ID is user:... or anon:...",
     "Waits until nothing of them stands in any file any more. What arrives later with a time up to now is refused; "
     "later\n"
     "events begin anew. The token needs the scope admin.",
     cli_erase},
    {"receipt", "[FILE]", "verify the receipt of an erasure, or ask for one again",
     "The signature is of the exact bytes of the object `receipt` by the key in receipt.pub of the folder `keys`.",
     cli_receipt},
};

static void print_help(FILE *out)
{
    fputs("usage: waymark COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-9s %-8s %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    fputs("\nEvery command takes --config FILE (default ./waymark.yaml) and --help.\n", out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("waymark %s (%s)\n", WAYMARK_VERSION, WAYMARK_REVISION);
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(&commands[i], argc - 2, argv + 2);
    fprintf(stderr, "waymark: there is no command '%s'\n\n", argv[1]);
    print_help(stderr);
    return EXIT_USAGE;
}
