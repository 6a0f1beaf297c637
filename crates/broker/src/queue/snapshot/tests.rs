//! Tests of the module above; nothing else is covered here.
