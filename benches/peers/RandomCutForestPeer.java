import com.amazon.randomcutforest.CommonUtils;
import com.amazon.randomcutforest.RandomCutForest;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * AWS's random cut forest with its defaults (50 trees of 256 rows, shingle size 1, one thread), one pass over a file.
 * Arguments: rows of numbers as CSV without a header, the file to write scores to, one a line, and a seed. Prints the processor time
 * of scoring and learning, in nanoseconds.
 */
class RandomCutForestPeer {
    public static void main(String[] arguments) throws IOException {
        float[][] rows; // the forest's own precision
        try (var lines = Files.lines(Path.of(arguments[0]))) {
            rows = lines.map(RandomCutForestPeer::numbers).toArray(float[][]::new);
        }
        var forest = RandomCutForest.builder().dimensions(rows[0].length).randomSeed(Long.parseLong(arguments[2])).build();
        var scores = new double[rows.length];

        // The whole process's time, as of the other peers: what the JVM's compiler and collector do meanwhile is part of the cost.
        var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long start = system.getProcessCpuTime();
        for (int i = 0; i < rows.length; i++) {
            scores[i] = forest.getAnomalyScore(rows[i]); // 0 while the forest has seen fewer than 64 rows
            forest.update(rows[i]);
        }
        System.out.println(system.getProcessCpuTime() - start);

        try (var file = new PrintWriter(arguments[1])) {
            for (double score : scores) {
                file.println(score);
            }
        }
    }

    static float[] numbers(String line) {
        return CommonUtils.toFloatArray(Arrays.stream(line.split(",")).mapToDouble(Double::parseDouble).toArray());
    }
}
