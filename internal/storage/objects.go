package storage

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Version pins what an object holds: an S3 object's ETag, a Google object's generation, the SHA-256 of a local file. [Absent] is that of no
// object. An ETag and a hash come back when the content does, a generation never does: where that would matter, the content has a number
// in it that does not repeat.
type Version string

// Absent is the version of an object that does not exist.
const Absent Version = ""

// Info is what a store says of an object.
type Info struct {
	URI     string
	Size    int64
	Version Version // empty in the lists of local files
	// Modified is when the object was written, and Now when it was asked, both by the store's clock; S3 tells whole seconds. Now is zero in
	// lists.
	Modified, Now time.Time
}

// Objects is what an [FS] has besides that knows versions and writes by preconditions. Local files have it, and s3:// and gs:// after
// transforms/remote/objects.Register. Errors begin with the URI and wrap what they are: [fs.ErrNotExist], [ErrChanged], [ErrForbidden], …
//
// Requests are tried again, for a bounded time, where the store throttles, fails or does not answer.
type Objects interface {
	// Stat describes an object.
	Stat(ctx context.Context, uri string) (Info, error)
	// Fetch reads an object whole, with what it is; one of more than most bytes is an error.
	Fetch(ctx context.Context, uri string, most int64) ([]byte, Info, error)
	// PutIf stores body if the object's version is still have, which [Absent] says is that there is none; ErrChanged is wrapped if it is
	// not. That an earlier try of the same call did store it is not an error.
	PutIf(ctx context.Context, uri string, body io.ReadSeeker, have Version) (Version, error)
	// RemoveIf deletes an object if its version is still have. ErrChanged is wrapped if it is not, and fs.ErrNotExist if it is gone.
	RemoveIf(ctx context.Context, uri string, have Version) error
	// List gives the objects below a folder, in any order; of none that there is no error.
	List(ctx context.Context, folder string, each func(Info) error) error
	// Clock is the store's time.
	Clock(ctx context.Context, uri string) (time.Time, error)
}

// objects returns the store of a path.
func objects(uri string) (Objects, error) {
	if IsLocal(uri) {
		return localObjects{}, nil
	}
	f, err := lookup(uri)
	if err != nil {
		return nil, err
	}
	if o, ok := f.(Objects); ok {
		return o, nil
	}
	return nil, fmt.Errorf("%s: %s:// has no writes by preconditions, by which workers agree: choose a local folder, s3:// or gs://", uri,
		Scheme(uri))
}

// Stat describes an object or a local file. The version of a local file is the hash of its content, which is read.
func Stat(ctx context.Context, uri string) (Info, error) {
	s, err := objects(uri)
	if err != nil {
		return Info{}, err
	}
	return s.Stat(ctx, uri)
}

// Fetch reads an object or a local file of a kind whole, with what it is: the version that it returns is that of the bytes.
func Fetch(ctx context.Context, uri string, k Kind) ([]byte, Info, error) {
	s, err := objects(uri)
	if err != nil {
		return nil, Info{}, err
	}
	return s.Fetch(ctx, uri, k.Max)
}

// List gives the objects or files below a folder, in any order; that there are none is not an error.
func List(ctx context.Context, folder string, each func(Info) error) error {
	s, err := objects(folder)
	if err != nil {
		return err
	}
	return s.List(ctx, folder, each)
}

// Clock is the time of the store of a path: of the server's answers, or of the files of the folder.
func Clock(ctx context.Context, uri string) (time.Time, error) {
	s, err := objects(uri)
	if err != nil {
		return time.Time{}, err
	}
	return s.Clock(ctx, uri)
}
