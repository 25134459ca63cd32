module sidecar/bench

go 1.26

require (
	github.com/attestantio/go-builder-client v0.7.2
	github.com/attestantio/go-eth2-client v0.28.1
	github.com/holiman/uint256 v1.3.2
	github.com/valyala/fasthttp v1.74.0
	golang.org/x/sys v0.47.0
	sidecar v0.0.0
)

replace sidecar => ../
