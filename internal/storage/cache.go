package storage

import (
	"fmt"
	"os"
	"path/filepath"
)

// CacheDir is the folder of what can be made or fetched again: $ADAPTFLOW_CACHE, or adaptflow in the user's cache folder.
func CacheDir() (string, error) {
	if d := os.Getenv("ADAPTFLOW_CACHE"); d != "" {
		return filepath.Abs(d)
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache folder: %w; set ADAPTFLOW_CACHE to one", err)
	}
	return filepath.Join(d, "adaptflow"), nil
}
