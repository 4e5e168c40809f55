//! Black-box tests: they run the real programs, talk to them over sockets and signals, and wait for facts.
//!
//! | module | the promise |
//! |---|---|
//! | `start` | it serves, and its log reads like gunicorn's |
//! | `boot` | a first start that fails says why and ends |
//! | `bad_input`, `cli` | mistakes are told at once; what the program says about itself |
//! | `balance` | workers share connections evenly, and nobody waits for one that stands still |
//! | `masses` | thousands of idle and slow clients beside a good one |
//! | `scale` | TTIN and TTOU; where settings come from |
//! | `sockets` | TCP and unix sockets |
//! | `stop` | TERM drains, INT is quick |
//! | `reload` | HUP loses no request, or changes nothing |
//! | `upgrade` | USR2 replaces the master itself, or changes nothing; WINCH |
//! | `matrix` | every signal in every state of the master |
//! | `activation` | systemd hands sockets over, and hears how the server is |
//! | `recycle` | max_requests and its like cost nobody anything |
//! | `tls` | certificates: good, renewed, wrong, missing; clients that do what they should not |
//! | `connections` | HTTP/2, websockets, old connections, and all of them while workers are replaced |
//! | `crash` | dead and hung processes cost what they must and no more |
//! | `hooks` | who is called when; background tasks that a drain waits for |
//! | `control` | rustcornctl: every command, and nobody who disturbs |
//! | `http1` | what a request may look like |
//! | `layers` | PROXY protocol, TLS, HTTP/2 and the rules for requests, together |
//! | `limits` | how many connections, and for how long |
//! | `trouble` | strange machines, operators and neighbours stop nothing |
//! | `static_files` | what HTTP promises about files, and no other file of the machine |
//! | `dev` | with `--dev`, what changes on disk is served |
//! | `examples` | each of the examples does what it shows |
//! | `new` | a new project builds, serves and reloads |
//! | `peers` | who is believed what about scheme and client; the PROXY protocol |
//! | `pid1` | the master as process 1 |
//! | `statsd` | metrics are exact |
//! | `logs` | every line is an object in JSON; it says which request and which trace |
//! | `log_files` | a log in a file, through any number of rotations; syslog |
//! | `access_log` | one line a request, true and whole, in a file that nobody waits for |
//! | `memory` | whether the kernel killed a worker, or somebody else |
//! | `leak` | the master does not grow |
//! | `process` | who and where the processes are: user, pidfile, chdir, umask, environment, titles |
//! | `daemon` | in the background, and back at once if the start fails |
//! | `lanes` | reuse_port spreads connections and loses none |
//! | `deploy` | the files for Kubernetes agree with each other |
//! | `docs` | each page is found, its links lead somewhere, each line of the log is explained |
//! | `workspace` | promises about the tree itself |

#[path = "../../../worker/src/guard/corpus.rs"]
mod corpus;
mod harness;
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests of telemetry, which use more of it")]
#[path = "../../../app/tests/otlp/receiver.rs"]
mod receiver;

mod access_log;
mod activation;
mod bad_input;
mod balance;
mod boot;
mod cli;
mod connections;
mod control;
mod crash;
mod daemon;
mod deploy;
mod dev;
mod docs;
mod examples;
mod foreign;
mod grpc;
mod hooks;
mod http1;
mod lanes;
mod layers;
mod leak;
mod limits;
mod log_files;
mod logs;
mod masses;
mod matrix;
mod memory;
mod new;
mod new_code;
mod outside;
mod peers;
mod pid1;
mod process;
mod recycle;
mod reload;
mod scale;
mod sockets;
mod start;
mod static_files;
mod statsd;
mod stop;
mod tls;
mod trouble;
mod upgrade;
mod workspace;

/// Where the receiver looks for it.
use harness::PATIENCE;
