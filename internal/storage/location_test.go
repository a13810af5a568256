package storage

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestMigrations: an older location is brought on step by step, goes on where a step has failed, and is refused where a step is missing.
func TestMigrations(t *testing.T) {
	root, ctx := t.TempDir(), t.Context()
	if _, err := openLocation(ctx, root, Location{1, "old"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := openLocation(ctx, root, Location{3, "new"}, []migration{{From: 1}}); err == nil ||
		!strings.Contains(err.Error(), "schema 1, of old, and this program has 3 and no way from there") {
		t.Errorf("%v", err)
	}
	var done []int
	fail := errors.New("no")
	step := func(from int, err *error) migration {
		return migration{from, func(_ context.Context, at string) error {
			if at != root {
				t.Errorf("migrating %s", at)
			}
			done = append(done, from)
			return *err
		}}
	}
	var never error
	steps := []migration{step(2, &fail), step(1, &never)}
	if _, err := openLocation(ctx, root, Location{3, "new"}, steps); !errors.Is(err, fail) ||
		!strings.Contains(err.Error(), "from schema 2") {
		t.Errorf("%v", err)
	}
	fail = nil
	l, err := openLocation(ctx, root, Location{3, "new"}, steps)
	if err != nil || l != (Location{3, "old"}) {
		t.Errorf("%+v %v", l, err)
	}
	if len(done) != 3 || done[0] != 1 || done[1] != 2 || done[2] != 2 {
		t.Errorf("steps %v, want each until it has succeeded", done)
	}
	if _, err := openLocation(ctx, root, Location{2, "middle"}, steps); err == nil || !strings.Contains(err.Error(), "knows up to 2") {
		t.Errorf("%v", err)
	}
}
