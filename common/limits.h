/* Every bound in one place. The configuration reference repeats those that can be set. */
#ifndef WAYMARK_LIMITS_H
#define WAYMARK_LIMITS_H

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* HTTP */
#define LIMIT_HEAD (40 * KIB)         /* request line and headers */
#define LIMIT_BODY_BEACON (4 * MIB)   /* a body under a beacon key, plain or inflated */
#define LIMIT_BODY_SERVER (20 * MIB)  /* the same under a server key */
#define LIMIT_BODY_LOOKUP (1 * MIB)   /* a body sent to the profiler */
#define LIMIT_BODY_INSIDE (512 * KIB) /* more, of what one profiler adds to send it to another */
#define LIMIT_CONNECTIONS 4096        /* open at once, a server */
#define LIMIT_HEAD_MS 10000           /* from accept or the last answer's first new byte to the end of the head */
#define LIMIT_BODY_MS 30000           /* from the head's end to the body's */
#define LIMIT_IDLE_MS 600000          /* kept-alive and silent */
#define LIMIT_ANSWER_MS 2000          /* from the body's end to the answer of a collector */
#define LIMIT_QUERY_PARAMETERS 256
#define LIMIT_BODIES_BYTES (512 * MIB) /* bodies held at once by a server; beyond it 503 */
#define LIMIT_DRAIN_BYTES (64 * MIB)   /* of a body that was refused: read on so that the client sees the answer */
#define LIMIT_LINGER_MS 5000           /* the same after an answer that came before the body */
#define LIMIT_LINGERING 256            /* connections in that state; further ones are just closed */
#define LIMIT_SEND_MS 30000            /* for an answer to be taken by the client, and beside it */
#define LIMIT_SEND_RATE 16             /* a millisecond for so many bytes of it */
#define LIMIT_FLUSH_MS 1000            /* at the stop, for answers to reach their sockets */
#define LIMIT_REQUEST_ARENA (64 * MIB) /* memory of a request beside its body */

/* TLS */
#define LIMIT_TLS_FILE_BYTES (256 * KIB)      /* of a certificate or key file */
#define LIMIT_TLS_CHAIN 16                    /* certificates of a chain */
#define LIMIT_TLS_LOOK_MS 1000                /* between looks at the files; a change is taken when they rest for one */
#define LIMIT_TLS_RETRY_MS 60000              /* between tries of files that are bad and stay so */
#define LIMIT_TLS_SOON_MS INT64_C(1209600000) /* 14 days: a certificate that ends sooner is warned of */

/* JSON */
#define LIMIT_JSON_DEPTH 1000          /* of a whole body; deeper is not read */
#define LIMIT_JSON_NODES 2000000       /* values of one text; a node of the tree takes 80 bytes */
#define LIMIT_JSON_NODES_BEACON 400000 /* the same of a body under a beacon key: anybody can send those */
#define LIMIT_JSON_KEEP (1 * MIB)      /* of memory that a parser keeps between texts, for nodes and for the rest */
#define LIMIT_EVENT_DEPTH 32
#define LIMIT_EVENT_BYTES (1 * MIB)
#define LIMIT_BATCH_MEMBERS 100 /* of the object around a batch, and of its context: each event looks through them */
#define LIMIT_EVENTS_PER_REQUEST 50000

/* Events */
#define LIMIT_ID_BYTES 256
#define LIMIT_TEXT_BYTES (8 * KIB) /* a known text field; a longer one is kept only in the verbatim part */
#define LIMIT_NAME_BYTES 256       /* a text that becomes a name in a map of the facts; likewise */
#define LIMIT_ITEMS 5000           /* of one event */
#define LIMIT_AMOUNT INT64_C(1000000000)
#define LIMIT_QUANTITY INT64_C(1000000)
#define LIMIT_TIME_FIRST INT64_C(-62135596800000) /* of every time that comes from outside: 0001-01-01 */
#define LIMIT_TIME_LAST INT64_C(253402300799999)  /* 9999-12-31T23:59:59.999 */
#define LIMIT_RECORD_BYTES (4 * MIB)              /* a packed event on the log */

/* Collector */
#define LIMIT_KEY_BYTES 512             /* of a write key as it is given */
#define LIMIT_RATE INT64_C(1000000000)  /* events a second and key that can be told apart from no limit */
#define LIMIT_RETRY_AFTER_S 300         /* greatest Retry-After that SDKs honour */
#define LIMIT_EVENT_ARENA (32 * MIB)    /* memory of one event while it is decoded */
#define LIMIT_REJECTED_BYTES (64 * MIB) /* the list of rejected events in an answer */
#define LIMIT_KEPT_BYTES (1 * MIB)      /* of a pool thread's buffer kept for the next request */
#define LIMIT_METRICS_BYTES (4 * MIB)   /* the text of the metrics */
#define LIMIT_PATIENCE_MS 1200 /* for an ack of the event log, before the spool gets what is left of the answer's */
#define LIMIT_SINK_BYTES (64 * MIB) /* copies of records that wait for such an ack; beyond it to the spool */
#define LIMIT_SPOOL_RECORDS 512     /* of the spool, appended to the event log and not yet acked */
#define LIMIT_SPOOL_BYTES (1 * MIB) /* likewise */
#define LIMIT_SPOOL_PROBE 16        /* of them while the event log is away */
#define LIMIT_SPOOL_PAUSE_MS 2000   /* between tries then */

/* Log */
#define LIMIT_KAFKA_PROPERTIES 200 /* in the configuration */
#define LIMIT_KAFKA_MS 10000       /* from an append to Kafka to its fate; a second or two more when all goes wrong */
#define LIMIT_KAFKA_MESSAGE_BYTES (LIMIT_RECORD_BYTES + 64 * KIB)
#define LIMIT_KAFKA_TOPIC_BYTES                                                                                        \
    (LIMIT_RECORD_BYTES + 256 * KIB)       /* max.message.bytes of a topic, with what Kafka adds */
#define LIMIT_KAFKA_AHEAD_BYTES (64 * MIB) /* fetched ahead of the fold, over all partitions; at least 128 KiB each */
#define LIMIT_KAFKA_PEEK_BYTES (8 * MIB)   /* the same of a reader without a name */
#define LIMIT_KAFKA_PEEKERS 64             /* readers without a name at once; each is a client of its own */
#define LIMIT_KAFKA_PENDING 256            /* records of a partition that a reader takes over at once */
#define LIMIT_LOG_QUEUE_RECORDS 400000     /* appended to Kafka, not yet acked */
#define LIMIT_PARTITIONS 1024
#define LIMIT_LOG_QUEUE_BYTES (64 * MIB) /* appended, not yet durable; beyond it the log is full */
#define LIMIT_LOG_QUEUE_OWN (8 * MIB)    /* more that only the profiler and commands may fill, so that it drains */
#define LIMIT_LOG_COMMIT_BYTES (8 * MIB) /* written with one sync */
#define LIMIT_LOG_READERS 64             /* names that hold records back */
#define LIMIT_LOG_NAME 64                /* bytes of a reader's name */

/* Fold */
#define LIMIT_MAP_NAMES 1000 /* names of one `by` map; those first seen earliest, the rest under "*" */
#define LIMIT_STATEMENTS                                                                                               \
    1000 /* statements of one order that count: a server key's first, then in the order of events */
#define LIMIT_STATEMENTS_BYTES (32 * MIB) /* of these, the first that take no more than this unpacked */
#define LIMIT_CHUNK_ENTRIES 96
#define LIMIT_TRAITS 500            /* names of one person: those first stated earliest */
#define LIMIT_TRAIT_BYTES (8 * KIB) /* of one value as JSON; a larger one counts as not stated */
#define LIMIT_CONSENTS 100          /* purposes of one person: those first stated earliest */
#define LIMIT_PURPOSE_BYTES 64
#define LIMIT_TRAITS_ARENA (64 * MIB)  /* memory to read what one event states */
#define LIMIT_DEVICE_EVENTS 100000     /* of a device without a user that can still become a user's */
#define LIMIT_DEVICE_RUNS 10000        /* times that a device changes hands; of more it is shared */
#define LIMIT_DEVICE_LINKS 1024        /* of a device, kept in memory beyond the need */
#define LIMIT_ERASED_NOTES 65536       /* profiles, erased since the last turn, whose copies the cache may have */
#define LIMIT_NAMES_BYTES (1024 * MIB) /* of hashes of ids while the erased are searched for, all partitions */
#define LIMIT_WATCH_BYTES                                                                                              \
    (64 * MIB) /* ids of changed profiles that wait to be looked at; more, and all are looked at */
#define LIMIT_DEFINITIONS_BYTES (32 * MIB) /* of definitions that a partition knows; further ones are refused */
#define LIMIT_MEMBERS_GONE 1024            /* devices that a user had and of which it is remembered */
#define LIMIT_DEVICE_USERS                                                                                             \
    64 /* beyond the cap that a device's home keeps apart; a device of more is shared for good                         \
        */

/* Look-ups */
#define LIMIT_LOOKUP_IDS 1000
#define LIMIT_PATH_PAGE 1000
#define LIMIT_WAIT_MS 10000
#define LIMIT_LOOKUP_QUEUE 4096        /* requests waiting for a look-up thread, or for an event to be folded */
#define LIMIT_LOOKUP_ARENA (256 * MIB) /* memory of one look-up beside the view */
#define LIMIT_VIEWS_BYTES (512 * MIB)  /* of paths and orders read by all look-ups; a single one may take more */
#define LIMIT_ANSWER_BYTES (64 * MIB)  /* an answer of the profiler */
#define LIMIT_PAGE_BYTES (4 * MIB)     /* a page of a path or a tail ends behind the event that passes this */
#define LIMIT_TAIL_PAGE 1000
#define LIMIT_TOKEN_NAME 64               /* bytes of a token's name */
#define LIMIT_FORWARDS 1024               /* look-ups sent on to other instances and not yet answered */
#define LIMIT_FORWARDS_OF_ONE 64          /* of them, for the ids of one question */
#define LIMIT_FORWARD_MS 2000             /* for the answer of another instance, beside the time that a look-up waits */
#define LIMIT_FORWARDED_BYTES (512 * MIB) /* of answers of other instances while they come in */
#define LIMIT_FOLD_BATCH 1024             /* records read at once by a fold worker */
#define LIMIT_FOLD_BATCH_BYTES (1 * MIB)
#define LIMIT_EMITTED_RECORDS 20000    /* that folding a partition asked for and that are not acked; then it waits */
#define LIMIT_EMITTED_BYTES (16 * MIB) /* likewise */
#define LIMIT_EMITTING_RECORDS 2048    /* of them, appended and not yet answered */
#define LIMIT_EMITTING_BYTES (2 * MIB) /* likewise */
#define LIMIT_HELD_MS 1200             /* a look-up waits for a cache to forget a profile that others' records moved */
#define LIMIT_SETTLE_ROUNDS 6          /* of following what records moved on to other partitions */
#define LIMIT_BATCH_COPY_BYTES (4 * MIB) /* of answers that one batch copies into the cache */

/* Rules */
#define LIMIT_RULE_BYTES (16 * KIB) /* of a rule's text */
#define LIMIT_RULE_DEPTH 64         /* of brackets and operators inside one another */
#define LIMIT_RULE_NODES 2000       /* names, constants, operators and functions of a rule */
#define LIMIT_RULE_SCANS 200        /* functions of a rule that look through events */
#define LIMIT_RULE_DAYS 36500       /* of a window */
#define LIMIT_RULE_KEPT (16 * MIB)  /* of a person's events that are kept taken apart while rules look at them */
#define LIMIT_RULE_OPEN (64 * MIB)  /* memory of one event beside them, and of a condition about one */
#define LIMIT_RULE_VALUES 50000     /* of an event's properties; in more no rule looks */
#define LIMIT_RULE_INTEREST 10000   /* events, the latest, that an interest is made of */
#define LIMIT_RULE_WARNINGS 100     /* of one rule; further ones are left out */
#define LIMIT_RULE_ARENA (8 * MIB)  /* memory of a compiled rule */

/* Exports */
#define LIMIT_EXPORT_QUEUE 16       /* exports that wait for the one that is being made */
#define LIMIT_EXPORTS 1000          /* finished ones that are kept; the oldest go */
#define LIMIT_EXPORT_COLUMNS 100    /* of one file */
#define LIMIT_EXPORT_SUPPRESS 20000 /* ids, addresses and numbers that a request lists */
#define LIMIT_EXPORT_VALUE (8 * KIB)
#define LIMIT_EXPORT_MARKS 1000     /* marks of people on their way to the log */
#define LIMIT_EXPORT_MARKS_MS 60000 /* for the log to take one of them */
#define LIMIT_EXPORT_ARENA (16 * MIB)
#define LIMIT_EXPORT_MANIFEST (1 * MIB)
#define LIMIT_EXPORT_FETCHES 4              /* files put together from parts at once */
#define LIMIT_EXPORT_FETCH_BYTES (16 * MIB) /* of a part asked for at once */
#define LIMIT_EXPORT_FETCH_MS 60000         /* for these */
#define LIMIT_CAMPAIGN_DAYS 400             /* of a report */

/* Backups */
#define LIMIT_BACKUP_FILES 100000       /* of one backup */
#define LIMIT_MANIFEST_BYTES (64 * MIB) /* what says what they are */
#define LIMIT_BACKUPS 10000             /* looked at in one folder */
#define LIMIT_BACKUP_NAME 100           /* bytes of a name */

/* Audit */
#define LIMIT_AUDIT_QUEUE 8192       /* records that wait to be on disk and on the log; reads beyond it are refused */
#define LIMIT_AUDIT_BYTES (16 * MIB) /* the same by their size */
#define LIMIT_AUDIT_BATCH 256        /* records written with one sync */
#define LIMIT_AUDIT_MS 10000         /* for the record of a change to be durable, before its answer is 503 */
#define LIMIT_AUDIT_TARGETS 1000     /* profiles that one record names */
#define LIMIT_AUDIT_LINE (64 * KIB)  /* of one record as text */

/* Audiences */
#define LIMIT_AUDIENCES 1000                  /* that are defined at once; further ones are left alone, by name */
#define LIMIT_AUDIENCE_SETS 20000             /* audiences and values of tags that have members kept as a bitmap */
#define LIMIT_AUDIENCE_BATCH 256              /* people judged between two writes to the topic */
#define LIMIT_AUDIENCE_ROWS_BYTES (16 * MIB)  /* rows that wait to be written, over all partitions */
#define LIMIT_AUDIENCE_ARENA (256 * MIB)      /* memory to judge one person, beside the view */
#define LIMIT_AUDIENCE_PAST_BYTES (128 * MIB) /* what is known of long paths, over all people */

/* Webhooks */
#define LIMIT_WEBHOOKS 32
#define LIMIT_WEBHOOK_NAMES 100             /* traits, or tags, that one is told */
#define LIMIT_WEBHOOK_WAITING 256           /* changes of one that are tried by turns */
#define LIMIT_WEBHOOK_AT_ONCE 8             /* calls of one under way */
#define LIMIT_WEBHOOK_BODY (256 * KIB)      /* of one call */
#define LIMIT_WEBHOOK_CALL_MS 15000         /* for the answer */
#define LIMIT_WEBHOOK_BACK_OFF_MS 300000    /* between two tries of one change, at most */
#define LIMIT_WEBHOOK_TRY_MS (24 * 3600000) /* after which a change is given up */
#define LIMIT_WEBHOOK_DEAD_BYTES (16 * MIB) /* of the file of what was given up; one more of these is kept */

/* Tags */
#define LIMIT_TAGS 500              /* of one file */
#define LIMIT_TAG_RULES 200         /* of one tag */
#define LIMIT_TAG_VALUE_BYTES 256   /* of a value's text */
#define LIMIT_TAGS_BYTES (64 * MIB) /* memory of one set */
#define LIMIT_CUTS_KEPT 400         /* days of which cut points of quintiles are kept */
#define LIMIT_CUTS_PEOPLE 20000000  /* whose values are sorted for cut points */

/* Several profilers */
#define LIMIT_URL_BYTES 512 /* of the address at which one is reached */

/* Cache */
#define LIMIT_CACHE_ID (LIMIT_ID_BYTES + 16) /* bytes of a profile's id; what is longer is not in the cache */
#define LIMIT_CACHE_PREFIX 256               /* bytes before every key */
#define LIMIT_CACHE_COPY_BYTES (512 * KIB)   /* of an answer that is copied to Redis */
#define LIMIT_CACHE_QUEUE_BYTES (32 * MIB)   /* of commands that wait to be sent to Redis */
#define LIMIT_CACHE_QUEUE 65536              /* commands that wait for their reply; copies fill half of both */
#define LIMIT_CACHE_DELETE_KEYS 256          /* of one command */
#define LIMIT_CACHE_CONFIRM_MS 50            /* for the confirmation of deletes; then the leases run out instead */
#define LIMIT_CACHE_SILENT_MS 1000           /* without a reply, and the writing connection is given up */
#define LIMIT_CACHE_CONNECT_MS 2000          /* for a connection to Redis */
#define LIMIT_CACHE_BACK_OFF_MS 2000         /* greatest wait between two tries to connect */
#define LIMIT_CACHE_READ_MS 100              /* for an answer from Redis; then it is a miss */
#define LIMIT_CACHE_READS 4096               /* look-ups that wait for Redis; further ones are misses */
#define LIMIT_CACHE_GROUP 32                 /* of them, asked with one command */
#define LIMIT_CACHE_GROUPS 8                 /* commands under way */
#define LIMIT_CACHE_REPLY_BYTES (LIMIT_CACHE_GROUP * LIMIT_CACHE_COPY_BYTES + 64 * KIB)

#endif
