// Package all lists the modules built into the sidecar, one line each.
package all

import (
	"sidecar/modules"
	"sidecar/modules/echo"
	"sidecar/modules/inclusion"
)

// Builtin returns the modules by the name a configuration gives as type.
func Builtin() map[string]modules.New {
	return map[string]modules.New{
		"echo":      echo.New,
		"inclusion": inclusion.New,
	}
}
