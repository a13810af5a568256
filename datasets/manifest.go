package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// ManifestName is the name of the file that lists the shards of a folder. It is written last: shards that it does not name are unfinished.
const ManifestName = "manifest.json"

// Manifest describes the shards of a folder; paths are relative to it.
type Manifest struct {
	SchemaVersion  int      `json:"schema_version"`
	Version        string   `json:"version"`
	Kind           string   `json:"kind"`
	Labels         []string `json:"label_names,omitempty"` // the classes' names by number, of kind classification
	TokenizerHash  string   `json:"tokenizer_hash"`
	SequenceLength int      `json:"sequence_length"`
	Packing        string   `json:"packing"`
	Isolate        bool     `json:"isolate_documents"`
	Seed           uint64   `json:"seed"`
	// AddBOS and AddEOS say whether plain texts begin with bos_token and end with eos_token. Manifests of version 0.1 do not say it: there
	// texts begin with bos_token where the tokenizer names one, and end with eos_token where it does not.
	AddBOS            *bool            `json:"add_bos,omitempty"`
	AddEOS            *bool            `json:"add_eos,omitempty"`
	DocumentSeparator string           `json:"document_separator,omitempty"`
	Read              int64            `json:"read"`
	Kept              int64            `json:"kept"`
	Rejected          map[string]int64 `json:"rejected"`
	Funnel            []FunnelStage    `json:"funnel"`
	Formats           []string         `json:"formats,omitempty"`       // what was detected
	Unused            map[string]int64 `json:"unused_fields,omitempty"` // rows by the name of a field that was not used
	Notes             map[string]int64 `json:"notes,omitempty"`         // records by what is noted of them
	Tokens            int64            `json:"tokens"`                  // in the shards
	DroppedTokens     int64            `json:"dropped_tokens"`          // by drop_last
	Sequences         int64            `json:"sequences"`
	FillRate          float64          `json:"fill_rate"` // tokens / (sequences · sequence_length)
	Train             []ShardInfo      `json:"train"`
	Validation        []ShardInfo      `json:"validation"`
}

// FunnelStage is what one stage of preparing took out. In = Kept + all of Rejected.
type FunnelStage struct {
	Name     string           `json:"name"` // "read", "clean", or the step of deduplication
	In       int64            `json:"in"`
	Kept     int64            `json:"kept"`
	Changed  int64            `json:"changed"`            // kept with another text
	Rejected map[string]int64 `json:"rejected"`           // by reason; of cleaning and deduplication by "rule.reason"
	Counters map[string]int64 `json:"counters,omitempty"` // what rules counted inside documents, such as lines left out
}

// WriteManifest writes the manifest of a folder, atomically.
func WriteManifest(dir string, m *Manifest) (string, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	p := storage.Join(dir, ManifestName)
	return p, storage.WriteFile(p, append(b, '\n'))
}

// ReadManifest reads the manifest of a folder.
func ReadManifest(dir string) (*Manifest, error) {
	p := storage.Join(dir, ManifestName)
	b, err := storage.ReadFile(p)
	if err != nil {
		return nil, err
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err == nil {
		_, err = d.Token()
		if err == io.EOF {
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	} else {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	if m.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("%s: schema_version is %d, this version reads %d; prepare the data again", p, m.SchemaVersion, SchemaVersion)
	}
	return &m, nil
}
