// Package version has the program's version, which is recorded in what it writes.
package version

// Version is adaptflow's.
const Version = "0.1.0"
