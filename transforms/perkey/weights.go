package perkey

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
)

// Whether the weights at a location are those that were written is asked of what the store lists, sizes and versions, so that a run of many
// keys reads none of them. They are read where that leaves a doubt, and where a worker has a small file's folder before it anyway.

// cheap is how many bytes of weights a worker reads to see whether a key that has a folder has to be trained.
const cheap = 4 << 20

// weights says whether a file is an adapter's weights, or a part of them.
func (f File) weights() bool { return strings.HasSuffix(f.Name, filepath.Ext(peft.TensorFile)) }

// weightsOf are those among files, by name.
func weightsOf(files []File) (out []File) {
	for _, f := range files {
		if f.weights() {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Weights are the files of weights of all keys' folders in the folder out at a location, as they are now.
func Weights(ctx context.Context, out string) (Files, error) {
	there, err := ListFolders(ctx, out)
	for dir, files := range there {
		there[dir] = weightsOf(files)
	}
	return there, err
}

// Damaged says what is wrong with the weights in a key's folder in the folder out at a location, which has the files there now and had the
// weights was when the run was finished; "" for nothing, where the key has none, or where it is not known what it had.
func (r *Result) Damaged(out string, there, was Files) (string, error) {
	now, then := weightsOf(there[r.Dir]), was[r.Dir]
	if r.Dir == "" || len(then) == 0 || slices.Equal(now, then) {
		return "", nil
	}
	const damaged = "has damaged weights"
	if !slices.EqualFunc(now, then, func(a, b File) bool { return a.Name == b.Name && a.Size == b.Size }) {
		return damaged, nil
	}
	if len(now) > 1 || r.SHA256 == "" { // the same bytes written again are few
		return damaged, nil
	}
	sum, err := storage.SHA256File(storage.Join(out, r.Dir, now[0].Name))
	if err != nil || sum == r.SHA256 {
		return "", err
	}
	return damaged, nil
}

// altered says whether the weights among the files of a folder are others than the result says, where that is cheap to know.
func (r *Result) altered(dir string, files []File) (bool, error) {
	w := weightsOf(files)
	if r.SHA256 == "" || len(w) != 1 || w[0].Size > cheap {
		return false, nil
	}
	sum, err := storage.SHA256File(storage.Join(dir, w[0].Name))
	return sum != r.SHA256, err
}
