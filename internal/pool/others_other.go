//go:build !linux

package pool

import "time"

// othersUse is not known here.
func othersUse() (time.Duration, bool) { return 0, false }
