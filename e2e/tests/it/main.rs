//! Black-box tests: they run the real programs, talk to them over sockets and signals, and wait for facts.
//!
//! | module | the promise |
//! |---|---|
//! | `start` | it serves, and its log reads like gunicorn's |
//! | `boot` | a first start that fails says why and ends |
//! | `bad_input`, `cli` | mistakes are told at once; what the program says about itself |
//! | `scale` | TTIN and TTOU; where settings come from |
//! | `sockets` | TCP and unix sockets |
//! | `stop` | TERM drains, INT is quick |
//! | `reload` | HUP loses no request, or changes nothing |
//! | `recycle` | max_requests and its like cost nobody anything |
//! | `crash` | dead and hung processes cost what they must and no more |
//! | `http1` | what a request may look like |
//! | `limits` | how many connections, and for how long |
//! | `trouble` | strange machines, operators and neighbours stop nothing |
//! | `peers` | who is believed what about scheme and client; the PROXY protocol |
//! | `pid1` | the master as process 1 |
//! | `statsd` | metrics are exact |
//! | `logs` | every line is an object in JSON; it says which request and which trace |
//! | `leak` | the master does not grow |
//! | `deploy` | the files for Kubernetes agree with each other |
//! | `workspace` | promises about the tree itself |

#[path = "../../../worker/src/guard/corpus.rs"]
mod corpus;
mod harness;
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests of telemetry, which use more of it")]
#[path = "../../../app/tests/otlp/receiver.rs"]
mod receiver;

mod bad_input;
mod boot;
mod cli;
mod crash;
mod deploy;
mod http1;
mod leak;
mod limits;
mod logs;
mod peers;
mod pid1;
mod recycle;
mod reload;
mod scale;
mod sockets;
mod start;
mod statsd;
mod stop;
mod trouble;
mod workspace;

/// Where the receiver looks for it.
use harness::PATIENCE;
