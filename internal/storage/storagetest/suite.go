package storagetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Place is a file system that [Suite] tries.
type Place struct {
	Root   string  // a folder of it
	Faults *Faults // of its server; nil of a local disk, which has none
	// Later makes what is in a folder older: the store's clock goes on, or the files' times go back.
	Later func(t *testing.T, folder string, d time.Duration)
	// Patience sets how long requests are tried again, until the test ends.
	Patience func(t *testing.T, d time.Duration)
	// Write is the method of the requests that store an object.
	Write string
	// Missing is a path in a bucket that does not exist.
	Missing string
	// Generations says whether equal bytes that are written again are another version.
	Generations bool
}

// LocalPlace is a folder of the test.
func LocalPlace(t *testing.T) *Place {
	return &Place{Root: t.TempDir(), Generations: false, Later: func(t *testing.T, folder string, d time.Duration) {
		if err := filepath.Walk(folder, func(p string, st os.FileInfo, err error) error {
			if err == nil {
				err = os.Chtimes(p, st.ModTime(), st.ModTime().Add(-d))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}}
}

// serverPlace is a bucket of a server, whose clock is hours ahead of the machine's: nothing may compare the two.
func serverPlace(root, missing string, s *Store, f *Faults, patience func(*testing.T, time.Duration)) *Place {
	ahead := 3 * time.Hour
	clock := func() time.Time {
		s.clock.Lock()
		defer s.clock.Unlock()
		return time.Now().Add(ahead)
	}
	s.Now = clock
	return &Place{Root: root, Missing: missing, Faults: f, Patience: patience,
		Later: func(_ *testing.T, _ string, d time.Duration) {
			s.clock.Lock()
			defer s.clock.Unlock()
			ahead += d
		}}
}

// S3Place is the bucket "bucket" of a server.
func S3Place(s *S3, patience func(*testing.T, time.Duration)) *Place {
	p := serverPlace("s3://bucket", "s3://missing/x", s.Store, &s.Faults, patience)
	p.Write = "PUT"
	return p
}

// GCSPlace is the bucket "bucket" of a server.
func GCSPlace(s *GCS, patience func(*testing.T, time.Duration)) *Place {
	p := serverPlace("gs://bucket", "gs://missing/x", s.Store, &s.Faults, patience)
	p.Write, p.Generations = "POST", true
	return p
}

// behaviours are what every file system does.
var behaviours = []struct {
	name string
	try  func(t *testing.T, p *Place, dir string)
}{
	{"put if absent", tryPutIfAbsent},
	{"swap", trySwap},
	{"counter", tryCounter},
	{"write once", tryWriteOnce},
	{"lost answers", tryLost},
	{"transient faults", tryTransient},
	{"conflicts", tryConflict},
	{"retry after", tryRetryAfter},
	{"refused", tryRefused},
	{"cancelled", tryCancelled},
	{"impatience", tryImpatience},
	{"large", tryLarge},
	{"lease", tryLease},
	{"lease of one", tryLeaseOfOne},
	{"lease taken over", tryTakeOver},
	{"lease in trouble", tryLeaseTrouble},
	{"parts", tryParts},
	{"damage", tryDamage},
	{"location", tryLocation},
	{"orphans", tryOrphans},
	{"orphan written again", tryOrphanAgain},
	{"finished work", tryRemoveTree},
}

// Suite tries every behaviour on a place.
func Suite(t *testing.T, p *Place) {
	for _, b := range behaviours {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			if p.Faults != nil {
				p.Faults.Clear()
				defer p.Faults.Clear()
			}
			b.try(t, p, storage.Join(p.Root, strings.ReplaceAll(b.name, " ", "-")))
		})
	}
}

// server skips what a local disk has not.
func server(t *testing.T, p *Place) {
	t.Helper()
	if p.Faults == nil {
		t.Skip("a local disk has no server")
	}
}

// slow skips what waits for seconds where tests are to be short.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("waits")
	}
}
