//go:build !linux

package ledger

import "syscall"

func dyingWithUs(attr syscall.SysProcAttr) *syscall.SysProcAttr { return &attr }
