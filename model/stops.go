package model

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// readStops reads the tokens that end a text from the generation_config.json of a folder, one or a list, which go before those of config.json: an
// instruction model names the end of a turn there.
func (c *Config) readStops(dir string) error {
	path := filepath.Join(dir, "generation_config.json")
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var g struct {
		EOS intOrList `json:"eos_token_id"`
	}
	if err := storage.Unmarshal(raw, &g); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(g.EOS) > 0 {
		c.EOS = g.EOS
	}
	return nil
}
