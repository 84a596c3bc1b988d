module cogreel.example/caller

go 1.19
