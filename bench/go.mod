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

require (
	github.com/OffchainLabs/go-bitfield v0.0.0-20251031151322-f427d04d8506 // indirect
	github.com/emicklei/dot v1.6.4 // indirect
	github.com/ferranbt/fastssz v0.1.4 // indirect
	github.com/goccy/go-yaml v1.17.1 // indirect
	github.com/herumi/bls-eth-go-binary v1.37.0 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/klauspost/cpuid/v2 v2.2.9 // indirect
	github.com/minio/sha256-simd v1.0.1 // indirect
	github.com/mitchellh/mapstructure v1.5.0 // indirect
	github.com/molecule-man/go-brrr v1.0.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/prysmaticlabs/gohashtree v0.0.4-beta // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
)

replace sidecar => ../
