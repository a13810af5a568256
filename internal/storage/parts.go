package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// A set of objects is its parts, whose names have the hash of their content, and a manifest that is written last: before it, there is no
// set. Any number of attempts and machines write the same parts, since equal content has an equal name.

// partsSchema is the version of the manifest's form.
const partsSchema = 1

// partHash is how many digits of the SHA-256 a part's name has.
const partHash = 16

// Part is a write-once object of a set.
type Part struct {
	Name   string `json:"name"` // below the set's folder
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// PartOf is the part that [PutPart] makes of a content of a size and a SHA-256.
func PartOf(prefix, ext string, size int64, sum string) Part {
	return Part{Name: prefix + "-" + sum[:partHash] + ext, Size: size, SHA256: sum}
}

// PutPart writes a content under its hash, as FOLDER/PREFIX-HASH.EXT (the prefix may have slashes, ext its dot), and returns what a
// manifest says of it. A retry overwrites it by equal bytes, so that sweeping sees it as new.
func PutPart(ctx context.Context, folder, prefix, ext string, body io.ReadSeeker) (Part, error) {
	if err := ctx.Err(); err != nil {
		return Part{}, err
	}
	h := sha256.New()
	n, err := io.Copy(h, body)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return Part{}, fmt.Errorf("%s: %w", Join(folder, prefix+ext), err)
	}
	p := PartOf(prefix, ext, n, hex.EncodeToString(h.Sum(nil)))
	uri := Join(folder, p.Name)
	if !IsLocal(uri) {
		f, err := lookup(uri)
		if err != nil {
			return Part{}, err
		}
		return p, f.Put(uri, body)
	}
	f, err := Create(uri)
	if err != nil {
		return Part{}, err
	}
	defer f.Abort()
	if _, err := io.Copy(f, body); err != nil {
		return Part{}, fmt.Errorf("%s: %w", uri, err)
	}
	return p, f.Commit()
}

// Set is a manifest with its place. It is kept in a folder of its own, since [ReadSet] lists the folder.
type Set struct {
	URI   string `json:"-"` // of the manifest; its parts are named from its folder
	Parts []Part
	About json.RawMessage // what the writer says besides
}

type setText struct {
	Schema int             `json:"parts_schema"`
	About  json.RawMessage `json:"about,omitempty"`
	Parts  []Part          `json:"parts"`
}

// folderOf is the folder of an object.
func folderOf(uri string) string {
	if IsLocal(uri) {
		return filepath.Dir(Local(uri))
	}
	return uri[:strings.LastIndex(uri, "/")]
}

// PutSet writes the manifest of parts at uri, in their order, with about (a value for JSON, or nil). All parts must be there, beside or
// below it. A manifest that exists already with the same content is not an error, one with another content is [ErrExists].
func PutSet(ctx context.Context, uri string, parts []Part, about any) (*Set, error) {
	t := setText{Schema: partsSchema, Parts: parts}
	var err error
	if about != nil {
		if t.About, err = json.Marshal(about); err != nil {
			return nil, fmt.Errorf("%s: %w", uri, err)
		}
	}
	raw, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", uri, err)
	}
	raw = append(raw, '\n')
	s := &Set{URI: uri, Parts: parts, About: t.About}
	if err := s.Check(ctx); err != nil {
		return nil, err
	}
	_, err = PutIfAbsent(ctx, uri, bytes.NewReader(raw))
	if errors.Is(err, ErrExists) {
		there, _, ferr := Fetch(ctx, uri, KindState)
		if ferr != nil {
			return nil, ferr
		}
		if bytes.Equal(there, raw) {
			return s, nil
		}
		return nil, fmt.Errorf("%w, for other parts: another run has finished this; choose another location, or remove it", err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ReadSet reads the manifest at uri and checks that all its parts are there with their sizes; the error of one that is missing or altered
// wraps [ErrDamaged] and names it. What the parts hold is compared when they are read ([Set.Read]) and by [Set.Verify].
func ReadSet(ctx context.Context, uri string) (*Set, error) {
	raw, _, err := Fetch(ctx, uri, KindState)
	if err != nil {
		return nil, err
	}
	var t setText
	if err := Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", uri, ErrDamaged, err)
	}
	if t.Schema != partsSchema {
		return nil, fmt.Errorf("%s: its form is %d, and this version reads %d: use the version that wrote it", uri, t.Schema, partsSchema)
	}
	for _, p := range t.Parts {
		if p.Name == "" || path.IsAbs(p.Name) || p.Name != path.Clean(p.Name) || strings.HasPrefix(p.Name, "../") {
			return nil, fmt.Errorf("%s: %w: it names %q, which is nothing beside it", uri, ErrDamaged, p.Name)
		}
	}
	var about bytes.Buffer // without the manifest's indent, as it was given
	if len(t.About) > 0 {
		if err := json.Compact(&about, t.About); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", uri, ErrDamaged, err)
		}
	}
	s := &Set{URI: uri, Parts: t.Parts, About: about.Bytes()}
	return s, s.Check(ctx)
}

// PartURI is where a part is.
func (s *Set) PartURI(p Part) string { return Join(folderOf(s.URI), p.Name) }

func (s *Set) damaged(p Part, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s, a part of %s; remove the manifest and run again, which makes the parts anew", s.PartURI(p), ErrDamaged,
		fmt.Sprintf(format, args...), s.URI)
}

// Check asks for the presence and the size of every part, by one list of the folder.
func (s *Set) Check(ctx context.Context) error {
	sizes := map[string]int64{}
	for _, p := range s.Parts {
		sizes[s.PartURI(p)] = -1
	}
	if len(sizes) == 0 {
		return nil
	}
	if err := List(ctx, folderOf(s.URI), func(i Info) error {
		if _, ok := sizes[i.URI]; ok {
			sizes[i.URI] = i.Size
		}
		return nil
	}); err != nil {
		return err
	}
	for _, p := range s.Parts {
		switch n := sizes[s.PartURI(p)]; {
		case n < 0:
			return s.damaged(p, "it is missing")
		case n != p.Size:
			return s.damaged(p, "it has %d bytes instead of %d", n, p.Size)
		}
	}
	return nil
}

// Read returns the content of a part, whose hash is compared.
func (s *Set) Read(ctx context.Context, p Part) ([]byte, error) {
	b, _, err := Fetch(ctx, s.PartURI(p), Kind{"a part", p.Size})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.damaged(p, "it is missing")
	}
	if err != nil {
		return nil, err
	}
	if SHA256(b) != p.SHA256 {
		return nil, s.damaged(p, "its content was altered")
	}
	return b, nil
}

// Open opens a part for random reads. Its size is compared, its content is not.
func (s *Set) Open(p Part) (ReaderAt, error) {
	f, err := OpenReaderAt(s.PartURI(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.damaged(p, "it is missing")
	}
	if err == nil && f.Size() != p.Size {
		err = errors.Join(s.damaged(p, "it has %d bytes instead of %d", f.Size(), p.Size), f.Close())
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Verify reads every part and compares its hash.
func (s *Set) Verify(ctx context.Context) error {
	for _, p := range s.Parts {
		f, err := s.Open(p)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, NewReader(f))
		if err = errors.Join(err, f.Close(), ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", s.PartURI(p), err)
		}
		if hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
			return s.damaged(p, "its content was altered")
		}
	}
	return nil
}
