package partition

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// heldBytes is what the tasks of a process hold at once, whatever runs beside: see [Hold].
const heldBytes = 256 << 20

var held = semaphore.NewWeighted(heldBytes)

// Hold waits until the bytes of records that somebody is about to read may be held with those of all others in this process, 256 MiB or
// so, and returns what gives them back. More than that is held alone. Who holds some must not wait for more.
func Hold(ctx context.Context, bytes int64) (release func(), err error) {
	n := min(max(bytes, 0), heldBytes)
	if err := held.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { held.Release(n) }), nil
}
