//go:build !unix

package pool

// threadStops is not known here.
func threadStops() (int64, bool) { return 0, false }
