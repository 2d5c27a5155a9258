// Runs one kernel of diagonal.cu on the processor: host OPERATION BLOCKS THREADS EVENTS COLUMNS ROWS FIRST CELLS TABLE BY_EVENT OUT
// The last four are lengths; the first three tensors come in on stdin as doubles, one after another, and the result goes out on stdout.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "../../src/device/diagonal.cu"

static std::vector<Real> read(size_t length) {
    std::vector<double> numbers(length);
    if (fread(numbers.data(), sizeof(double), length, stdin) != length) {
        exit(2);
    }
    return std::vector<Real>(numbers.begin(), numbers.end());
}

int main(int, char **arguments) {
    const char *operation = arguments[1];
    size_t sizes[10];
    for (int i = 0; i < 10; i++) {
        sizes[i] = strtoul(arguments[2 + i], nullptr, 10);
    }
    auto [grid, block, events, columns, rows, first, cells_length, table_length, by_event_length, out_length] = sizes;
    const std::vector<Real> cells = read(cells_length), table = read(table_length), by_event = read(by_event_length);
    auto *kernel = !strcmp(operation, "gaussians") ? gaussians : !strcmp(operation, "students") ? students : moments;
    blocks = grid, threads = block;
    auto run = [&, events = events, columns = columns, rows = rows, first = first, out_length = out_length](bool order) {
        std::vector<Real> out(out_length, NAN);
        backwards = order;
        kernel(cells.data(), table.data(), by_event.data(), out.data(), events, columns, rows, first);
        return std::vector<double>(out.begin(), out.end());
    };
    const std::vector<double> out = run(false), again = run(true);
    if (memcmp(out.data(), again.data(), sizeof(double) * out_length)) {
        fputs("the order of threads matters\n", stderr);
        return 3;
    }
    return fwrite(out.data(), sizeof(double), out_length, stdout) != out_length;
}
