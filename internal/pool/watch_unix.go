//go:build unix

package pool

import "syscall"

// threadStops counts how often the system has stopped threads of this process that wanted to go on.
func threadStops() (int64, bool) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, false
	}
	return int64(r.Nivcsw), true
}
