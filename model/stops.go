package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// generationFile holds the settings of transformers' generate.
const generationFile = "generation_config.json"

// readStops reads the tokens that end a text from the generation_config.json of a folder, one or a list, which go before those of
// config.json: an instruction model names the end of a turn there.
func (c *Config) readStops(dir string) error {
	path := filepath.Join(dir, generationFile)
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

// EndAt adds tokens to those that end a text. Save writes them where transformers' generate looks for them: into generation_config.json
// where the folder has one, otherwise into config.json.
func (m *Model) EndAt(ids []int32) {
	for _, id := range ids {
		if !slices.Contains(m.Config.EOS, id) {
			m.Config.EOS, m.ends = append(slices.Clone(m.Config.EOS), id), true
		}
	}
}

// copyGeneration copies generation_config.json to dst, where the folder has one, with the tokens of EndAt, which config gets otherwise.
func (m *Model) copyGeneration(dst string, config map[string]json.RawMessage) error {
	if !m.ends {
		return adapterfile.CopySmall(dst, m.dir, generationFile)
	}
	eos, err := json.Marshal(m.Config.EOS)
	if err != nil {
		return err
	}
	g, err := storage.ReadObject(os.DirFS(m.dir), generationFile)
	if err != nil {
		return err
	}
	if g == nil {
		config["eos_token_id"] = eos
		return nil
	}
	g["eos_token_id"] = eos
	raw, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	return storage.WriteShared(filepath.Join(dst, generationFile), append(raw, '\n'))
}
