package assets

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Licenses is the licences and the origin of everything embedded.
func Licenses() ([]byte, error) {
	out, err := files.ReadFile("files/README.md")
	if err != nil {
		return nil, err
	}
	packed, err := files.ReadFile("files/linux_man_en/COPYRIGHT.zst")
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	text, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("the embedded licence text is damaged: %w", err)
	}
	out = append(out, "\n# Copyright of the manual pages\n\n"...)
	mit, err := files.ReadFile("files/gsm8k/LICENSE")
	if err != nil {
		return nil, err
	}
	out = append(append(out, text...), "\n# Licence of GSM8K\n\n"...)
	out = append(append(out, mit...), "\n# Licence of HH-RLHF\n\n"...)
	if mit, err = files.ReadFile("files/hh_rlhf/LICENSE"); err != nil {
		return nil, err
	}
	return append(out, mit...), nil
}
