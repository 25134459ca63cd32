//go:build !linux

package pgtest

import "syscall"

func dyingWithUs(attr syscall.SysProcAttr) *syscall.SysProcAttr { return &attr }
