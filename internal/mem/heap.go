package mem

import (
	"context"
	"runtime/debug"
)

type owned struct{}

// Own says of what is done under ctx that the process is this program's, and not one of a host that the code is a library of: [Heap] may
// then set how garbage is collected.
func Own(ctx context.Context) context.Context { return context.WithValue(ctx, owned{}, true) }

// Heap has garbage of the Go heap collected when percent of what is live was added, and at the latest at limit bytes, 0 for the limit that
// holds already. It does so only under a context of [Own], and not against a limit that is lower. restore puts back what was.
func Heap(ctx context.Context, percent int, limit int64) (restore func()) {
	if ctx.Value(owned{}) == nil {
		return func() {}
	}
	wasPercent, wasLimit := debug.SetGCPercent(percent), debug.SetMemoryLimit(-1)
	if limit > 0 && limit < wasLimit {
		debug.SetMemoryLimit(limit)
	}
	return func() {
		debug.SetGCPercent(wasPercent)
		debug.SetMemoryLimit(wasLimit)
	}
}
