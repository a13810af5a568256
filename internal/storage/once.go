package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// PutIfAbsent writes an object that does not exist yet, whole, and returns its version. One that exists already, of whatever content, gives
// an error that wraps [ErrExists] and leaves it as it is: of attempts at the same time one writes.
//
// On S3 it is If-None-Match: *, on Google Cloud Storage ifGenerationMatch=0; a local file is written under a temporary name, synced and
// linked.
func PutIfAbsent(ctx context.Context, uri string, body io.ReadSeeker) (Version, error) {
	s, err := objects(uri)
	if err != nil {
		return Absent, err
	}
	v, err := s.PutIf(ctx, uri, body, Absent)
	if errors.Is(err, ErrChanged) {
		return Absent, fmt.Errorf("%s: %w", uri, ErrExists)
	}
	return v, err
}

// Swap replaces an object if its version is still have, and returns the new one: compare and swap. An object that was changed or removed
// meanwhile gives an error that wraps [ErrChanged] and stays as it is. Two contents of a swapped object are never equal: see [Version].
//
// On S3 it is If-Match, on Google Cloud Storage ifGenerationMatch; local files are compared under a lock of their folder.
func Swap(ctx context.Context, uri string, have Version, body []byte) (Version, error) {
	if have == Absent {
		return PutIfAbsent(ctx, uri, bytes.NewReader(body))
	}
	s, err := objects(uri)
	if err != nil {
		return Absent, err
	}
	v, err := s.PutIf(ctx, uri, bytes.NewReader(body), have)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, fmt.Errorf("%s: it was removed meanwhile: %w", uri, ErrChanged)
	}
	return v, err
}
