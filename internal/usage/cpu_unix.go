//go:build unix

package usage

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the time that the process's threads have run, in user and system mode.
func CPU() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
