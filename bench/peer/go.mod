module peer

go 1.26

require github.com/flashbots/mev-boost v1.12.0
