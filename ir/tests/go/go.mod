module vigo.example/cases

go 1.19
