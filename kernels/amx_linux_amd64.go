//go:build !noasm

package kernels

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	archReqXcompPerm = 0x1023 // ARCH_REQ_XCOMP_PERM, arch/x86/include/uapi/asm/prctl.h
	xfeatureTileData = 18     // XFEATURE_XTILEDATA
)

// permitTiles asks the kernel for the use of tiles by all threads of the process, present and future. Linux before 5.16 does not know the
// request, and a sandbox may forbid it; the first tile would then end the process.
func permitTiles() error {
	if _, _, e := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archReqXcompPerm, xfeatureTileData, 0); e != 0 {
		return fmt.Errorf("arch_prctl(ARCH_REQ_XCOMP_PERM): %w", e)
	}
	return nil
}
