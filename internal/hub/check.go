package hub

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A file of the cache is checked before it is used: its bytes must have the checksum that its blob is named by. So that a start costs no
// reading of whole models, a blob that was found right is not read again while its size, times and place on the disk are what they were;
// that is kept beside the blobs, in .checked, and where the cache cannot be written every process reads each blob once. The time of change
// (ctime) is among them, which no program sets, so that only damage below the file system is not seen.

// checks counts the files that were read for their checksum.
var checks atomic.Int64

// settle is how old a file's times must be before they tell whether it was changed: systems count them in steps.
var settle = 2 * time.Second

// errMissing is the cause of errors about files that are not in the cache.
var errMissing = errors.New("not in the cache")

// check is nil for a file of a snapshot that is there and right. A file that is not a link, as where the system has none, is compared with
// the checksum that was recorded when it came; without a record nothing is known of it, and it is right unless strict.
func check(root, dir, file string, strict bool) error {
	path := filepath.Join(dir, file)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, errMissing)
	}
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink == 0 {
		raw, err := storage.ReadSmall(record(root, dir, file), storage.KindNote)
		if err != nil {
			if strict {
				return fmt.Errorf("%s: nothing tells its checksum", path)
			}
			return regular(path)
		}
		return sound(root, path, string(raw))
	}
	to, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	if to = filepath.Clean(to); !sameFolder(filepath.Dir(to), filepath.Join(root, "blobs")) {
		return fmt.Errorf("%s is a link to %s, which is not a blob of this model's cache: remove the link, and the file is downloaded "+
			"again", path, to)
	}
	return sound(root, to, filepath.Base(to))
}

// sameFolder reports whether two paths are of one folder, whatever links lead to it.
func sameFolder(a, b string) bool {
	if a == filepath.Clean(b) {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// record is where the checksum of a snapshot's file is kept that is not a link.
func record(root, dir, file string) string {
	return filepath.Join(root, ".checked", filepath.Base(dir)+"-"+file)
}

// regular is nil for a file with bytes of its own, whose reading ends.
func regular(path string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, errMissing)
	}
	if err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file but %v: remove it, and it is downloaded again", path, st.Mode().Type())
	}
	return err
}

// stamp is what changes when a file is written or replaced.
type stamp struct {
	text string // "" unknown
	last time.Time
}

// sound is nil for a blob with the checksum etag.
func sound(root, blob, etag string) error {
	if err := regular(blob); err != nil {
		return err
	}
	if !etagName.MatchString(etag) { // another program's, of a hub with other checksums
		return nil
	}
	now := stampOf(blob)
	kept := filepath.Join(root, ".checked", etag)
	if filepath.Base(blob) != etag {
		kept = filepath.Join(root, ".checked", filepath.Base(filepath.Dir(blob))+"-"+filepath.Base(blob)+".stamp")
	}
	if old, err := storage.ReadSmall(kept, storage.KindNote); err == nil && now.text != "" && string(old) == now.text {
		return nil
	}
	f, err := storage.OpenFile(blob)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	checks.Add(1)
	sum := newSum(remote{etag: etag, size: st.Size()})
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("%s cannot be read: %w", blob, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != etag {
		return fmt.Errorf("%s is damaged: its %d bytes have the checksum %s: delete it, and it is downloaded again", blob, st.Size(), got)
	}
	if now.text != "" && now == stampOf(blob) && time.Since(now.last) >= settle {
		_ = storage.WriteShared(kept, []byte(now.text)) // a cache of others' may be read only
	}
	return nil
}

// damaged names a file of a whole snapshot that is not right, or is nil.
func damaged(root, dir string) error {
	es, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range es {
		if n := e.Name(); n == weights || n == index || shard.MatchString(n) || slices.Contains(side, n) {
			if err := check(root, dir, n, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// local reports whether a name that comes from elsewhere is that of a file in the folder itself.
func local(name string) bool {
	return name != "" && filepath.IsLocal(name) && name == filepath.Base(name) && !strings.ContainsAny(name, `/\`)
}
