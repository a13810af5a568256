//go:build !unix

package mem

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func mapFile(*os.File, int64, int, bool) ([]byte, error) {
	return nil, fmt.Errorf("mapping a file into memory on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func adviseRange([]byte, bool) {}
