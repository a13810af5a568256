// Package early refuses limits of the system (ulimit) under which Go's runtime would end the process with a trace in the middle of its
// work. It does so when it is initialised, and imports next to nothing, so that it comes before the packages whose tables take memory and
// threads.
package early
