package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/export"
)

func init() {
	export.Register(export.Format{
		Name:     "tarball",
		Folder:   "tarball",
		Doc:      "the adapter's folder as one file, adapter.tar.gz, for a store of artifacts",
		Settings: func() any { return &tarball{Level: 6} },
		Write:    writeTarball,
	})
}

// tarball are the settings of the format.
type tarball struct {
	Level int `json:"level" yaml:"level" bounds:"[0,9]" help:"gzip's level of compression; 0 for none"`
}

// writeTarball packs the folder of the format before it, without times and owners: the same adapter gives the same bytes.
func writeTarball(s *export.Source, c *export.Config, to string) error {
	own, err := c.SettingsOf("tarball")
	if err != nil {
		return err
	}
	files, err := os.ReadDir(s.Folder)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, own.(*tarball).Level)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(s.Folder, f.Name()))
		if err != nil {
			return err
		}
		err = t.WriteHeader(&tar.Header{Name: "adapter/" + f.Name(), Mode: 0o644, Size: int64(len(data))})
		if _, werr := t.Write(data); err != nil || werr != nil {
			return errors.Join(err, werr)
		}
	}
	if err := errors.Join(t.Close(), z.Close(), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "adapter.tar.gz"), out.Bytes(), 0o644)
}
