import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.rdf4j.common.transaction.IsolationLevels;
import org.eclipse.rdf4j.model.Statement;
import org.eclipse.rdf4j.model.vocabulary.RDF4J;
import org.eclipse.rdf4j.repository.RepositoryException;
import org.eclipse.rdf4j.repository.sail.SailRepository;
import org.eclipse.rdf4j.repository.sail.SailRepositoryConnection;
import org.eclipse.rdf4j.rio.RDFFormat;
import org.eclipse.rdf4j.rio.RDFHandler;
import org.eclipse.rdf4j.rio.RDFParser;
import org.eclipse.rdf4j.rio.Rio;
import org.eclipse.rdf4j.rio.helpers.AbstractRDFHandler;
import org.eclipse.rdf4j.rio.helpers.StatementCollector;
import org.eclipse.rdf4j.sail.NotifyingSail;
import org.eclipse.rdf4j.sail.lmdb.LmdbStore;
import org.eclipse.rdf4j.sail.lmdb.config.LmdbStoreConfig;
import org.eclipse.rdf4j.sail.memory.MemoryStore;
import org.eclipse.rdf4j.sail.shacl.ShaclSail;
import org.eclipse.rdf4j.sail.shacl.ShaclSail.TransactionSettings.ValidationApproach;
import org.eclipse.rdf4j.sail.shacl.ShaclSailValidationException;

/**
 * Times commit() of changes under RDF4J's ShaclSail.
 *
 * <p>Arguments: "lmdb" or "memory", the folder of the peers (data.nt, shapes.nt, NAME.add.nt,
 * NAME.remove.nt), a folder for the store, and names of changes. A store on disk that is there is
 * used as it is. Prints a line of JSON when everything is loaded, and one for each change: the seconds that
 * commit() took, validated and (of a change that conforms) not, and the verdict. Each change is
 * undone, so that all of them meet the same graph.
 *
 * <p>Source: https://rdf4j.org/documentation/programming/shacl/
 */
public final class Rdf4jPeer {
  private static final int PART = 100_000;

  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments[1]);
    Path place = Path.of(arguments[2]);
    boolean kept = arguments[0].equals("lmdb") && Files.exists(place.resolve("loaded"));
    ShaclSail sail = new ShaclSail(store(arguments[0], place));
    SailRepository repository = new SailRepository(sail);
    long started = System.nanoTime();
    try (SailRepositoryConnection connection = repository.getConnection()) {
      if (!kept) {
        load(connection, folder);
        if (arguments[0].equals("lmdb")) {
          Files.createFile(place.resolve("loaded"));
        }
      }
      double seconds = kept ? 0 : (System.nanoTime() - started) / 1e9;
      System.out.printf("{\"loaded\": %.3f}%n", seconds);
      for (int i = 3; i < arguments.length; i++) {
        measure(connection, folder, arguments[i]);
      }
    }
    repository.shutDown();
  }

  private static NotifyingSail store(String kind, Path place) {
    if (kind.equals("memory")) {
      return new MemoryStore();
    }
    return new LmdbStore(place.toFile(), new LmdbStoreConfig("spoc,posc,ospc"));
  }

  private static void load(SailRepositoryConnection connection, Path folder) throws IOException {
    Loader loader = new Loader(connection);
    parse(folder.resolve("data.nt"), loader);
    loader.flush();
    connection.begin(IsolationLevels.NONE, ValidationApproach.Disabled);
    connection.add(read(folder.resolve("shapes.nt")), RDF4J.SHACL_SHAPE_GRAPH);
    connection.commit();
  }

  private static void measure(SailRepositoryConnection connection, Path folder, String name)
      throws IOException {
    List<Statement> added = read(folder.resolve(name + ".add.nt"));
    List<Statement> removed = read(folder.resolve(name + ".remove.nt"));
    connection.begin();
    connection.remove(removed);
    connection.add(added);
    double seconds = commit(connection);
    if (seconds < 0) {
      say(name, -seconds, false, "");
      return;
    }
    unvalidated(connection, added, removed);
    double bare = unvalidated(connection, removed, added);
    unvalidated(connection, added, removed);
    say(name, seconds, true, String.format(", \"unvalidated\": %.6f", bare));
  }

  private static void say(String name, double seconds, boolean conforms, String more) {
    System.out.printf(
        "{\"name\": \"%s\", \"seconds\": %.6f, \"conforms\": %b%s}%n",
        name, seconds, conforms, more);
  }

  /** Seconds that commit() takes, with a minus before them when the shapes refuse the change. */
  private static double commit(SailRepositoryConnection connection) {
    long started = System.nanoTime();
    try {
      connection.commit();
      return (System.nanoTime() - started) / 1e9;
    } catch (RepositoryException refused) {
      double seconds = (System.nanoTime() - started) / 1e9;
      if (!(refused.getCause() instanceof ShaclSailValidationException)) {
        throw refused;
      }
      if (connection.isActive()) {
        connection.rollback();
      }
      return -seconds;
    }
  }

  /** Removes and adds without validation; returns the seconds of commit(). */
  private static double unvalidated(
      SailRepositoryConnection connection, List<Statement> gone, List<Statement> come) {
    connection.begin(ValidationApproach.Disabled);
    connection.remove(gone);
    connection.add(come);
    long started = System.nanoTime();
    connection.commit();
    return (System.nanoTime() - started) / 1e9;
  }

  private static List<Statement> read(Path file) throws IOException {
    List<Statement> found = new ArrayList<>();
    parse(file, new StatementCollector(found));
    return found;
  }

  private static void parse(Path file, RDFHandler handler)
      throws IOException {
    RDFParser parser = Rio.createParser(RDFFormat.NTRIPLES);
    parser.setRDFHandler(handler);
    try (InputStream stream = Files.newInputStream(file)) {
      parser.parse(new InputStreamReader(stream, StandardCharsets.UTF_8));
    }
  }

  /** Adds in transactions of PART statements, without validation. */
  private static final class Loader extends AbstractRDFHandler {
    private final SailRepositoryConnection connection;
    private final List<Statement> waiting = new ArrayList<>(PART);

    Loader(SailRepositoryConnection connection) {
      this.connection = connection;
    }

    @Override
    public void handleStatement(Statement statement) {
      waiting.add(statement);
      if (waiting.size() == PART) {
        flush();
      }
    }

    void flush() {
      connection.begin(IsolationLevels.NONE, ValidationApproach.Disabled);
      connection.add(waiting);
      connection.commit();
      waiting.clear();
    }
  }
}
