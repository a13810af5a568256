package train

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// TestAdapterAtALocation: with shards and checkpoints on an object store an adapter has the bytes of one in folders; another machine, with
// a cache of its own, finds it finished, and the reference opens there.
func TestAdapterAtALocation(t *testing.T) {
	base(t) // before the cache is another's
	objects.Register()
	storagetest.StartS3(t, "bucket")
	want, err := adapted(t, t.TempDir(), settings(t, t.TempDir()), false)
	if err != nil {
		t.Fatal(err)
	}
	model := base(t)
	for i := range 2 { // the second finds it finished
		t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
		core.CloseSessions()
		set := settings(t, "s3://bucket/work")
		set.Model.Path = model
		steps := 0
		stop := core.Watch("", func(p core.Progress) {
			if p.Step != nil {
				steps++
			}
		})
		got, err := adapted(t, "s3://bucket/run", set, true)
		stop()
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash != want.Hash || got.Loss != want.Loss || steps != 8*(1-i) {
			t.Errorf("%+v in %d steps, want %+v", got, steps, want)
		}
		job, at, err := got.Open()
		if err != nil {
			t.Fatal(err)
		}
		trained, err := core.OpenTrained(t.Context(), job, at)
		if err != nil {
			t.Fatal(err)
		}
		if err := trained.Close(); err != nil {
			t.Error(err)
		}
	}
	if ok, err := storage.Exists("s3://bucket/run/shards/manifest.json"); !ok || err != nil {
		t.Error(ok, err)
	}
}
