package storagetest

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Store keeps the objects of both servers, in memory or in a folder. What a server says is a version of the object: its generation is a
// number that only grows.
type Store struct {
	// Now is the servers' clock; nil is the machine's. Tests set it to see that no other clock counts.
	Now func() time.Time

	clock   sync.Mutex // of who sets Now
	mu      sync.Mutex
	dir     string
	buckets map[string]map[string]*Object
	last    int64 // generation
}

// Object is one version of an object.
type Object struct {
	Bucket, Key                string
	Size                       int64
	MD5                        []byte
	CRC32C                     uint32
	ETag                       string // without quotes
	Generation, Metageneration int64
	Created, Modified          time.Time
	ContentType                string
	Meta                       map[string]string

	blob *blob
}

// blob is the content of an object or of a part of one.
type blob struct {
	data []byte
	file string // where it is, of a store in a folder
	size int64
	md5  []byte
	crc  uint32
}

func (b *blob) open() (io.ReadSeekCloser, error) {
	if b.file != "" {
		return os.Open(b.file)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(b.data), io.NopCloser(nil)}, nil
}

var (
	errNoBucket = errors.New("the bucket does not exist")
	errNoObject = errors.New("the object does not exist")
)

// NewStore makes a store with the buckets named. A dir that is not empty keeps the objects over the end of the process.
func NewStore(dir string, buckets ...string) (*Store, error) {
	s := &Store{dir: dir, buckets: map[string]map[string]*Object{}}
	if dir != "" {
		if err := s.load(); err != nil {
			return nil, err
		}
	}
	for _, b := range buckets {
		if err := s.MakeBucket(b); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}

// MakeBucket makes a bucket; that it exists is not an error.
func (s *Store) MakeBucket(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = map[string]*Object{}
	}
	if s.dir == "" {
		return nil
	}
	return os.MkdirAll(filepath.Join(s.dir, name), 0o700)
}

// HasBucket says whether a bucket exists.
func (s *Store) HasBucket(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[name] != nil
}

// receive takes a body in, outside the lock.
func (s *Store) receive(r io.Reader) (*blob, error) {
	b := &blob{}
	h, c := md5.New(), crc32.New(crc32.MakeTable(crc32.Castagnoli))
	var to io.Writer
	var buf bytes.Buffer
	to = &buf
	if s.dir != "" {
		f, err := os.CreateTemp(s.dir, "incoming-*")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b.file, to = f.Name(), f
	}
	n, err := io.Copy(io.MultiWriter(to, h, c), r)
	if err != nil {
		b.drop()
		return nil, err
	}
	b.data, b.size, b.md5, b.crc = buf.Bytes(), n, h.Sum(nil), c.Sum32()
	return b, nil
}

func (b *blob) drop() {
	if b.file != "" {
		os.Remove(b.file)
	}
}

// put makes o, whose bucket, key and attributes are set, the object of its key, if check (which may be nil) agrees with what is there (nil
// if nothing is).
func (s *Store) put(o Object, b *blob, etag string, check func(old *Object) error) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.buckets[o.Bucket]
	err := errNoBucket
	if objects != nil {
		if err = nil; check != nil {
			err = check(objects[o.Key])
		}
	}
	if err != nil {
		b.drop()
		return nil, err
	}
	now := s.now()
	s.last = max(s.last+1, now.UnixMicro())
	o.Size, o.MD5, o.CRC32C, o.ETag = b.size, b.md5, b.crc, cmp.Or(etag, hex.EncodeToString(b.md5))
	o.Generation, o.Metageneration, o.Created, o.Modified, o.blob = s.last, 1, now, now, b
	if s.dir != "" {
		to := s.base(&o) + ".data"
		if err := os.Rename(b.file, to); err != nil {
			return nil, err
		}
		b.file = to
		if err := s.save(&o); err != nil {
			return nil, err
		}
	}
	old := objects[o.Key]
	objects[o.Key] = &o
	s.forget(old)
	return &o, nil
}

// get returns an object.
func (s *Store) get(bucket, key string) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.buckets[bucket]
	if objects == nil {
		return nil, errNoBucket
	}
	if o := objects[key]; o != nil {
		return o, nil
	}
	return nil, errNoObject
}

// remove deletes an object if check agrees.
func (s *Store) remove(bucket, key string, check func(*Object) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.buckets[bucket]
	if objects == nil {
		return errNoBucket
	}
	o := objects[key]
	if check != nil {
		if err := check(o); err != nil {
			return err
		}
	}
	if o == nil {
		return errNoObject
	}
	delete(objects, key)
	s.forget(o)
	return nil
}

// list returns the objects of a bucket that begin with prefix, after the key after, in the order of their keys.
func (s *Store) list(bucket, prefix, after string, most int) (out []*Object, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.buckets[bucket]
	if objects == nil {
		return nil, false, errNoBucket
	}
	for _, k := range slices.Sorted(maps.Keys(objects)) {
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		if len(out) == most {
			return out, true, nil
		}
		out = append(out, objects[k])
	}
	return out, false, nil
}

// base is the path of an object's files in the folder, without an extension.
func (s *Store) base(o *Object) string {
	return filepath.Join(s.dir, o.Bucket, fmt.Sprintf("%020d", o.Generation))
}

func (s *Store) save(o *Object) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	tmp := s.base(o) + ".tmp"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.base(o)+".json")
}

// forget removes the files of an object that is no longer one. Who reads it goes on.
func (s *Store) forget(o *Object) {
	if o != nil && s.dir != "" {
		os.Remove(s.base(o) + ".json")
		os.Remove(s.base(o) + ".data")
	}
}

// load reads the folder of an earlier process. Of two versions of an object, which a process that was killed has left, the later counts.
func (s *Store) load() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(s.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != s.dir {
				s.buckets[d.Name()] = map[string]*Object{}
			}
			return nil
		}
		if filepath.Ext(p) != ".json" {
			return nil
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var o Object
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		o.blob = &blob{file: s.base(&o) + ".data", size: o.Size, md5: o.MD5, crc: o.CRC32C}
		s.last = max(s.last, o.Generation)
		old := s.buckets[o.Bucket][o.Key]
		s.buckets[o.Bucket][o.Key] = &o // the names of the files are in the order of generations
		s.forget(old)
		return nil
	})
}
