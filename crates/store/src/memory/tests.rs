//! The memory engine's faults, each shown once. The promises are the suite's business.
