package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Folder is the weights of a Hugging Face model folder: model.safetensors, or the shards that
// model.safetensors.index.json names.
type Folder struct {
	dir   string
	files []*File
	where map[string]*File
	names []string
}

// OpenDir opens the weights of a model folder. A shard that is missing, a tensor that is not where the index says and a
// tensor that the index does not name are errors. Pickled weights are refused with advice.
func OpenDir(dir string) (*Folder, error) {
	d := &Folder{dir: dir, where: map[string]*File{}}
	index := filepath.Join(dir, "model.safetensors.index.json")
	raw, err := storage.ReadSmall(index, storage.KindIndex)
	switch {
	case err == nil:
		err = d.openShards(index, raw)
	case errors.Is(err, fs.ErrNotExist):
		err = d.openSingle()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	for n := range d.where {
		d.names = append(d.names, n)
	}
	sort.Strings(d.names)
	return d, nil
}

func (d *Folder) openSingle() error {
	path := filepath.Join(d.dir, "model.safetensors")
	f, err := Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, pattern := range []string{"pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt"} {
			if m, _ := filepath.Glob(filepath.Join(d.dir, pattern)); len(m) > 0 {
				return fmt.Errorf("%s: pickled weights can run code when they are read and are not loaded: convert them in Python with "+
					"AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)", m[0])
			}
		}
		return fmt.Errorf("%s: no model.safetensors and no model.safetensors.index.json in this folder", d.dir)
	}
	if err != nil {
		return err
	}
	d.files = []*File{f}
	for _, n := range f.Names() {
		d.where[n] = f
	}
	return nil
}

func (d *Folder) openShards(index string, raw []byte) error {
	var doc struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := storage.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	if len(doc.WeightMap) == 0 {
		return fmt.Errorf("%s: no weight_map", index)
	}
	var shards []string
	seen := map[string]*File{}
	for _, file := range doc.WeightMap {
		if _, ok := seen[file]; !ok {
			seen[file] = nil
			shards = append(shards, file)
		}
	}
	sort.Strings(shards)
	for _, file := range shards {
		if file != filepath.Base(file) {
			return fmt.Errorf("%s: shard %q lies outside the folder", index, file)
		}
		f, err := Open(filepath.Join(d.dir, file))
		if err != nil {
			return fmt.Errorf("%s names a shard that cannot be opened: %w", index, err)
		}
		d.files = append(d.files, f)
		seen[file] = f
		for _, n := range f.Names() {
			if doc.WeightMap[n] != file {
				return fmt.Errorf("%s: tensor %q is in %s, but the index puts it in %q", index, n, file, doc.WeightMap[n])
			}
			d.where[n] = f
		}
	}
	for n, file := range doc.WeightMap {
		if d.where[n] == nil {
			return fmt.Errorf("%s: the index puts tensor %q in %s, which does not hold it", index, n, file)
		}
	}
	return nil
}

// OpenFiles opens files that hold one set of tensors together. rename, where not nil, gives the names of a file's tensors other ones. A
// name that is there twice is an error.
func OpenFiles(paths []string, rename func(names []string) map[string]string) (*Folder, error) {
	d := &Folder{dir: filepath.Dir(paths[0]), where: map[string]*File{}}
	if len(paths) == 1 {
		d.dir = paths[0]
	}
	for _, p := range paths {
		f, err := Open(p)
		if err == nil {
			d.files = append(d.files, f)
			if rename != nil {
				err = f.rename(rename(f.names))
			}
		}
		if err != nil {
			d.Close()
			return nil, err
		}
		for _, n := range f.names {
			if other := d.where[n]; other != nil {
				d.Close()
				return nil, fmt.Errorf("%s: tensor %q is also in %s", p, n, other.path)
			}
			d.where[n] = f
			d.names = append(d.names, n)
		}
	}
	sort.Strings(d.names)
	return d, nil
}

// rename gives the tensors other names.
func (s *File) rename(to map[string]string) error {
	infos := map[string]Info{}
	s.names = s.names[:0]
	for old, i := range s.infos {
		name := to[old]
		if _, twice := infos[name]; twice {
			return fmt.Errorf("%s: two tensors are %q, one of them as %q", s.path, name, old)
		}
		infos[name] = i
		s.names = append(s.names, name)
	}
	sort.Strings(s.names)
	s.infos = infos
	return nil
}

// Files are the paths of the files, sorted.
func (d *Folder) Files() []string {
	var p []string
	for _, f := range d.files {
		p = append(p, f.path)
	}
	return p
}

// Names implements Source.
func (d *Folder) Names() []string { return d.names }

// Info implements Source.
func (d *Folder) Info(name string) (Info, bool) {
	if f := d.where[name]; f != nil {
		return f.Info(name)
	}
	return Info{}, false
}

func (d *Folder) file(name string) (*File, error) {
	if f := d.where[name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%s: no tensor %q", d.dir, name)
}

// Float32 implements Source.
func (d *Folder) Float32(name string) ([]float32, error) {
	f, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return f.Float32(name)
}

// ReadFloat32 implements Source.
func (d *Folder) ReadFloat32(name string, dst []float32, at int) error {
	f, err := d.file(name)
	if err != nil {
		return err
	}
	return f.ReadFloat32(name, dst, at)
}

// Int64 implements Source.
func (d *Folder) Int64(name string) ([]int64, error) {
	f, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return f.Int64(name)
}

// Bytes implements Source.
func (d *Folder) Bytes(name string) ([]byte, error) {
	f, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return f.Bytes(name)
}

// Close implements Source.
func (d *Folder) Close() error {
	var err error
	for _, f := range d.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
