//go:build !unix

package usage

import "time"

var started = time.Now()

// CPU is the time since the process started: this system's count of what its threads have run is not read.
func CPU() time.Duration { return time.Since(started) }
