//! Tests of the file beside.
//! They need no network beyond this machine.
