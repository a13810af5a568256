package datasets

import (
	"errors"
	"fmt"
	"io"
)

// EachText calls f for the texts of the files that globs name, one at a time; mode is [Options].TextMode.
// A record that cannot be read is an error.
func EachText(files []string, mode string, f func(text string) error) error {
	sources, err := FindSources(files)
	if err != nil {
		return err
	}
	for _, s := range sources {
		r, err := Open(s.Path, s.Source, Options{TextMode: mode})
		if err != nil {
			return err
		}
		for {
			rec, bad, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil && bad != nil {
				err = fmt.Errorf("%s: record %d: %s", s.Path, bad.Index, bad.Reason)
			}
			if err == nil {
				err = f(rec.Text)
			}
			if err != nil {
				return errors.Join(err, r.Close())
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}
