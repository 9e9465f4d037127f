"""The command `clgrad`: what is there, what is wrong, what is kept, what is generated.

One module per subcommand, each with `add_parser(subparsers)` and `run(args) -> int`; `main` lists
them. The highest floor: nothing imports this package.
"""
