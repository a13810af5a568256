package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/quant"
)

// packedLayout is the version of how matrices are packed: a change of the panels is a change of it.
const packedLayout = "1"

// packedHeader is the room for the header of a file of packed matrices, which is written last.
const packedHeader = 1 << 20

// packed is a model's dense matrices as products read them, in a file of the cache that every process of the machine maps: a safetensors
// file of bytes, named by the SHA-256 of what it is made of. It implements [quant.Place].
//
// The first process to open a model writes the file; those that come meanwhile wait for it.
type packed struct {
	path   string
	f      *storage.File     // being written, or nil
	have   *safetensors.File // that was there, or nil
	names  map[string]bool   // asked for
	head   map[string]any    // of the file being written
	end    int64             // of its data
	stream *quant.Stream     // nil where all that was read stays mapped
	lock   *storage.Lock
}

// openPacked opens or begins the file of a model whose source has a hash.
func openPacked(hash string, spec quant.Spec, task Task) (*packed, error) {
	cache, err := storage.CacheDir()
	if err != nil {
		return nil, err
	}
	// An adapter's embeddings are in the hash.
	opened := fmt.Sprintf("{Type:%s NumLabels:%d Seed:%d}", task.Type, task.NumLabels, task.Seed)
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s", packedLayout, hash, spec.Text(), opened))
	dir := filepath.Join(cache, "weights", hex.EncodeToString(key[:]))
	p := &packed{path: filepath.Join(dir, "packed.safetensors"), names: map[string]bool{}}
	if spec.Place == quant.Streamed {
		p.stream = &quant.Stream{}
	}
	if p.have, err = openExisting(p.path); p.have != nil || err != nil {
		return p, err
	}
	for p.lock == nil {
		if p.lock, err = storage.LockDir(dir); err == nil {
			break
		}
		if !errors.Is(err, storage.ErrLocked) {
			return nil, fmt.Errorf("%w; ADAPTFLOW_CACHE names another folder for packed weights", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if p.have, err = openExisting(p.path); p.have != nil || err != nil { // another process was faster
		return p, errors.Join(err, p.lock.Unlock())
	}
	if err := storage.Sweep(dir); err != nil {
		return nil, errors.Join(err, p.lock.Unlock())
	}
	if p.f, err = storage.Create(p.path); err != nil {
		return nil, errors.Join(err, p.lock.Unlock())
	}
	p.head = map[string]any{"__metadata__": map[string]string{"format": "adaptflow packed weights", "layout": packedLayout, "source": hash,
		"storage": spec.Text()}}
	return p, nil
}

func openExisting(path string) (*safetensors.File, error) {
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; delete it, and it is made again", err)
	}
	return f, nil
}

// Matrix implements quant.Place.
func (p *packed) Matrix(name string, n int) (*mem.Block, *quant.Use, bool, error) {
	if p.names[name] {
		return nil, nil, false, fmt.Errorf("%s: the matrix %s is asked for twice", p.path, name)
	}
	p.names[name] = true
	if p.have != nil {
		b, err := p.have.Map(name, n)
		if err != nil {
			return nil, nil, false, fmt.Errorf("%w; delete %s, and it is made again", err, p.path)
		}
		return b, p.use(b), true, nil
	}
	at := packedHeader + p.end
	file, err := p.f.Extend(at + int64(n))
	if err != nil {
		return nil, nil, false, err
	}
	b, err := mem.Map(file, at, n, true)
	if err != nil {
		return nil, nil, false, fmt.Errorf("%s: %w", p.path, err)
	}
	p.head[name] = safetensors.Info{DType: "U8", Shape: []int{n}, Range: [2]int64{p.end, p.end + int64(n)}}
	p.end += int64(n)
	return b, p.use(b), false, nil
}

func (p *packed) use(b *mem.Block) *quant.Use {
	if p.stream == nil {
		return nil
	}
	return p.stream.Add(b)
}

// done ends the opening of a model: where it succeeded, a file that was being written becomes visible to others. The mappings stay.
func (p *packed) done(ok bool) error {
	if p.have != nil {
		return p.have.Close()
	}
	var err error
	if ok {
		err = p.finish()
	}
	p.f.Abort() // nothing after a commit
	return errors.Join(err, p.lock.Unlock())
}

func (p *packed) finish() error {
	raw, err := json.Marshal(p.head)
	if err != nil {
		return err
	}
	head := make([]byte, packedHeader)
	if len(raw) > len(head)-8 {
		return fmt.Errorf("%s: a header of %d bytes for %d matrices", p.path, len(raw), len(p.names))
	}
	binary.LittleEndian.PutUint64(head, packedHeader-8)
	for i := copy(head[8:], raw) + 8; i < len(head); i++ {
		head[i] = ' '
	}
	if _, err := p.f.WriteAt(head, 0); err != nil {
		return err
	}
	return p.f.Commit()
}
