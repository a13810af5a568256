package datasets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// RejectWriter writes a file of dead letters, JSON lines with zstd. Without any there is no file.
type RejectWriter struct {
	path string
	f    *storage.File
	z    *zstd.Encoder
	enc  *json.Encoder
}

// NewRejectWriter names the file.
func NewRejectWriter(path string) *RejectWriter { return &RejectWriter{path: path} }

// Write adds a dead letter.
func (w *RejectWriter) Write(r *Reject) (err error) {
	if w.f == nil {
		if w.f, err = storage.Create(w.path); err != nil {
			return err
		}
		if w.z, err = zstd.NewWriter(w.f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true)); err != nil {
			return err
		}
		w.enc = json.NewEncoder(w.z)
		w.enc.SetEscapeHTML(false)
	}
	return w.enc.Encode(r)
}

// Close finishes the file and returns its path, "" when there was nothing to write.
func (w *RejectWriter) Close() (string, error) {
	if w.f == nil {
		return "", nil
	}
	if err := w.z.Close(); err != nil {
		return "", err
	}
	return w.path, w.f.Commit()
}

// Abort drops the file. After Close it does nothing.
func (w *RejectWriter) Abort() {
	if w.f != nil {
		w.f.Abort()
	}
}

// ReadRejects calls do with the dead letters of a file, in order, until it returns false.
func ReadRejects(path string, do func(*Reject) bool) error {
	f, err := storage.OpenReaderAt(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(storage.NewReader(f), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer z.Close()
	for d := json.NewDecoder(z); ; {
		var r Reject
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !do(&r) {
			return nil
		}
	}
}
