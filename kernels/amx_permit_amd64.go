//go:build !linux && !noasm

package kernels

import "errors"

// permitTiles: what other systems want to be asked has not been tried.
func permitTiles() error { return errors.New("tiles are used on Linux only") }
