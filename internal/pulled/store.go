package pulled

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// FromStore returns this machine's copy of a folder that a user keeps on an object store (s3://BUCKET/FOLDER), pulled into the cache where
// it is not there as it is now: its files' names, sizes and versions say so. What begins with a dot is left out. A folder of this machine
// is returned as it is. That there is none, or one without files, is an error that wraps [fs.ErrNotExist].
func FromStore(ctx context.Context, uri string) (string, error) {
	if storage.IsLocal(uri) {
		return uri, nil
	}
	folder := strings.TrimRight(uri, "/")
	var found []storage.Info
	if err := storage.List(ctx, folder, func(i storage.Info) error {
		found = append(found, i)
		return nil
	}); err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b storage.Info) int { return cmp.Compare(a.URI, b.URI) })
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", folder)
	var files []file
	for _, i := range found {
		name, ok := strings.CutPrefix(i.URI, folder+"/")
		if !ok || name == "" || strings.HasSuffix(name, "/") || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			continue
		}
		if err := checkName(name); err != nil {
			return "", fmt.Errorf("%s: %w", folder, err)
		}
		fmt.Fprintf(h, "%q %d %q\n", name, i.Size, i.Version)
		files = append(files, file{name, i.Size, func(ctx context.Context, to string) error { return copyOf(ctx, i, to) }})
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%s: there is no such folder, or it holds no files: %w", uri, fs.ErrNotExist)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	return keep(sum, uri, func(root string) (string, *storage.Lock, error) { return bring(ctx, root, sum, files) })
}

// copyOf copies an object, as it was listed, to a file.
func copyOf(ctx context.Context, i storage.Info, to string) error {
	from, err := storage.OpenReaderAt(i.URI)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := storage.Create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	n, err := io.Copy(f, &interruptible{ctx, storage.NewReader(from)})
	if err != nil {
		return fmt.Errorf("%s: %w", i.URI, err)
	}
	if n != i.Size {
		return fmt.Errorf("%s changed while it was pulled: see that nothing writes to it, and run again", i.URI)
	}
	return f.Commit()
}
